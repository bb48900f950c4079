//! Parts of root's rights, by `capabilities(7)`.

use std::fmt;

/// A right of which a task may keep something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Change owners of files.
    Chown,
    /// Read and write whatever the permissions of a file say.
    DacOverride,
    /// Do with a file what its owner may.
    Fowner,
    /// Keep set-user-id bits when a file is changed.
    Fsetid,
    /// Signal processes of other users.
    Kill,
    /// Become another group.
    Setgid,
    /// Become another user.
    Setuid,
    /// Give capabilities away.
    Setpcap,
    /// Listen on ports below 1024.
    NetBindService,
    /// Raw and packet sockets.
    NetRaw,
    /// `chroot`.
    SysChroot,
    /// Give files capabilities.
    Setfcap,
}

impl Capability {
    /// What a task keeps whose app has `capabilities` loosened: what containerd leaves by default, but for the making of
    /// devices (which would lead to the machine's disks) and the writing of audit records.
    pub const LOOSENED: [Self; 12] = [
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Setgid,
        Self::Setuid,
        Self::Setpcap,
        Self::NetBindService,
        Self::NetRaw,
        Self::SysChroot,
        Self::Setfcap,
    ];

    /// The kernel's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Chown => 0,
            Self::DacOverride => 1,
            Self::Fowner => 3,
            Self::Fsetid => 4,
            Self::Kill => 5,
            Self::Setgid => 6,
            Self::Setuid => 7,
            Self::Setpcap => 8,
            Self::NetBindService => 10,
            Self::NetRaw => 13,
            Self::SysChroot => 18,
            Self::Setfcap => 31,
        }
    }

    /// The kernel's name in lower case, without `CAP_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chown => "chown",
            Self::DacOverride => "dac_override",
            Self::Fowner => "fowner",
            Self::Fsetid => "fsetid",
            Self::Kill => "kill",
            Self::Setgid => "setgid",
            Self::Setuid => "setuid",
            Self::Setpcap => "setpcap",
            Self::NetBindService => "net_bind_service",
            Self::NetRaw => "net_raw",
            Self::SysChroot => "sys_chroot",
            Self::Setfcap => "setfcap",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
