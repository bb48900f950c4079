//! Who the process is, what it keeps of root's rights, and what it may use of the machine.

use super::{Ids, Stuck};
use rustix::{
    fs::{FileType, fchown, fstat},
    io::Errno,
    process::{Gid, Resource, Rlimit, Uid, getgid, getrlimit, getuid, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
        configure_capability_in_ambient_set, no_new_privs, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};
use std::{fs, io};
use taffeta_isolation_plan::Confine;
use taffeta_model::{Rlimit as Limit, RlimitBounds, RunAs};

/// The limit of core dumps that leaves none: smaller than any image, so that no file is written, and the one value with
/// which the kernel hands nothing to a program either, as it does with 0 (`core(5)`, and `fs/coredump.c` of the kernel).
const NO_DUMPS: u64 = 1;

/// Numbers of capabilities, as far as the kernel could ever count in its two words.
const NUMBERS: u32 = 64;

/// Ready to be given up.
pub(super) struct Privileges {
    rlimits: Vec<(Resource, Rlimit, &'static str)>,
    /// What the process becomes, if that is another than it is.
    ids: Option<(Uid, Gid)>,
    /// The other groups that it is to be in; `None`: it stays in those that it is in.
    groups: Option<Vec<Gid>>,
    /// What it keeps; `None`: all that it has.
    kept: Option<CapabilitySet>,
    /// Whether the kernel gives it back what it keeps when it has become another user and a program.
    ambient: bool,
    held: CapabilitySet,
}

impl Privileges {
    pub(super) fn prepare(wanted: &Confine, ids: Option<&Ids>, gaps: &mut Vec<String>) -> io::Result<Self> {
        let held = capabilities(None)?.effective;
        let ids = match (&wanted.user, ids) {
            (None, _) => None,
            (Some(user), Some(ids)) => Some(may_become(user, ids, held)?),
            (Some(user), None) => return Err(io::Error::other(format!("user `{user}`: it was not looked up"))),
        };
        let drops_groups = wanted.capabilities.is_some() && held.contains(CapabilitySet::SETGID);
        let groups = match &ids {
            Some(ids) => Some(ids.groups.iter().map(|gid| Gid::from_raw(*gid)).collect()),
            None => drops_groups.then(Vec::new),
        };
        let groups = groups.filter(|groups| may_set_groups(held, groups, gaps));
        let kept = wanted.capabilities.as_ref().map(|kept| {
            kept.iter()
                .fold(CapabilitySet::empty(), |set, kept| set | CapabilitySet::from_bits_retain(1 << kept.number()))
        });
        if kept.is_some() && !wanted.no_new_privs && !held.contains(CapabilitySet::SETPCAP) {
            gaps.push(
                "capabilities: programs with set-user-id bits may gain some, which only root could prevent".into(),
            );
        }
        let uid = ids.as_ref().map_or_else(|| getuid().as_raw(), |ids| ids.uid);
        Ok(Self {
            rlimits: rlimits(wanted, held)?,
            ids: ids.map(|ids| (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid))),
            groups,
            kept: kept.map(|kept| kept & held),
            ambient: uid != 0,
            held,
        })
    }

    /// Whether the kernel permits walls without [`Confine::no_new_privs`].
    pub(super) fn may_administer(&self) -> bool {
        self.held.contains(CapabilitySet::SYS_ADMIN)
    }

    pub(super) fn apply_rlimits(&self) -> Result<(), Stuck> {
        self.rlimits.iter().try_for_each(|(of, to, step)| setrlimit(*of, *to).map_err(Stuck::at(step)))
    }

    pub(super) fn apply(&self) -> Result<(), Stuck> {
        if let Some(kept) = self.kept
            && self.held.contains(CapabilitySet::SETPCAP)
        {
            drop_bounding(kept).map_err(Stuck::at("drop capabilities from the bounding set"))?;
        }
        if let (Some(kept), true) = (self.kept, self.ambient) {
            set_keep_capabilities(!kept.is_empty()).map_err(Stuck::at("keep capabilities"))?;
        }
        if self.ids.is_some() {
            self.hand_over_outputs();
        }
        if let Some(groups) = &self.groups {
            set_thread_groups(groups).map_err(Stuck::at("join the groups of its user"))?;
        }
        if let Some((uid, gid)) = self.ids {
            set_thread_res_gid(gid, gid, gid).map_err(Stuck::at("become its group"))?;
            set_thread_res_uid(uid, uid, uid).map_err(Stuck::at("become its user"))?;
        }
        self.kept.map_or(Ok(()), |kept| self.keep(kept).map_err(Stuck::at("drop capabilities")))
    }

    /// Has these capabilities and no others. The kernel gives the program those of the bounding set if it is root's, those
    /// of the ambient set if it is not.
    fn keep(&self, kept: CapabilitySet) -> Result<(), Errno> {
        let inheritable = if self.ambient { kept } else { CapabilitySet::empty() };
        clear_ambient_capability_set()?;
        set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
        if self.ambient {
            kept.iter().try_for_each(|kept| configure_capability_in_ambient_set(kept, true))?;
        }
        Ok(())
    }

    /// Makes the files and pipes behind the standard streams the new user's: it may open them again by `/dev/stdout`. Whose
    /// they were has no use for an error.
    fn hand_over_outputs(&self) {
        let Some((uid, _)) = self.ids else { return };
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let kind = fstat(stream).map(|about| FileType::from_raw_mode(about.st_mode));
            if matches!(kind, Ok(FileType::RegularFile | FileType::Fifo)) {
                let _ = fchown(stream, Some(uid), None);
            }
        }
    }
}

/// Who that is, if the node may become it.
fn may_become<'a>(user: &RunAs, ids: &'a Ids, held: CapabilitySet) -> io::Result<&'a Ids> {
    let own = getuid().as_raw();
    let same = (ids.uid, ids.gid) == (own, getgid().as_raw());
    if !same && !held.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        let message = format!(
            "user `{user}`: the node runs as user {own} and can start tasks as no other; run it as root, or leave `user` out"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(ids)
}

/// A user namespace may forbid groups for good: whoever drops one there could reach what its group is kept from.
fn may_set_groups(held: CapabilitySet, groups: &[Gid], gaps: &mut Vec<String>) -> bool {
    let denied = fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny");
    let may = held.contains(CapabilitySet::SETGID) && !denied;
    if !may && !groups.is_empty() {
        gaps.push("user: it is not in its further groups, as groups cannot be set here".into());
    }
    may
}

fn rlimits(wanted: &Confine, held: CapabilitySet) -> io::Result<Vec<(Resource, Rlimit, &'static str)>> {
    let mut limits = vec![];
    for (limit, RlimitBounds { soft, hard }) in &wanted.rlimits {
        if *limit == Limit::Core && wanted.no_core_dumps {
            continue; // less than what follows cannot be asked for
        }
        let (resource, step) = resource(*limit);
        let most = getrlimit(resource).maximum;
        let above = most.is_some_and(|most| hard.is_none_or(|hard| hard > most));
        if above && !held.contains(CapabilitySet::SYS_RESOURCE) {
            let words = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |n| n.to_string());
            let message = format!(
                "rlimits: `{limit}` is {}, and the hard limit of the node that runs the task is {}, which it may not raise; ask \
                 for less, or raise the node's own",
                words(*hard),
                words(most)
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        limits.push((resource, Rlimit { current: *soft, maximum: *hard }, step));
    }
    if wanted.no_core_dumps {
        let (resource, step) = resource(Limit::Core);
        let most = getrlimit(resource).maximum;
        // Where the node has no dumps itself its tasks can have no more.
        let none = most.map_or(NO_DUMPS, |most| most.min(NO_DUMPS));
        limits.push((resource, Rlimit { current: Some(none), maximum: Some(none) }, step));
    }
    Ok(limits)
}

/// What the kernel calls it, and what cannot be done if it refuses.
fn resource(limit: Limit) -> (Resource, &'static str) {
    match limit {
        Limit::As => (Resource::As, "set the rlimit `as`"),
        Limit::Core => (Resource::Core, "set the rlimit `core`"),
        Limit::Cpu => (Resource::Cpu, "set the rlimit `cpu`"),
        Limit::Data => (Resource::Data, "set the rlimit `data`"),
        Limit::Fsize => (Resource::Fsize, "set the rlimit `fsize`"),
        Limit::Locks => (Resource::Locks, "set the rlimit `locks`"),
        Limit::Memlock => (Resource::Memlock, "set the rlimit `memlock`"),
        Limit::Msgqueue => (Resource::Msgqueue, "set the rlimit `msgqueue`"),
        Limit::Nice => (Resource::Nice, "set the rlimit `nice`"),
        Limit::Nofile => (Resource::Nofile, "set the rlimit `nofile`"),
        Limit::Nproc => (Resource::Nproc, "set the rlimit `nproc`"),
        Limit::Rss => (Resource::Rss, "set the rlimit `rss`"),
        Limit::Rtprio => (Resource::Rtprio, "set the rlimit `rtprio`"),
        Limit::Rttime => (Resource::Rttime, "set the rlimit `rttime`"),
        Limit::Sigpending => (Resource::Sigpending, "set the rlimit `sigpending`"),
        Limit::Stack => (Resource::Stack, "set the rlimit `stack`"),
    }
}

/// What is in that set a program can be given, whoever starts it; so it goes before the right to take from it does.
fn drop_bounding(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..NUMBERS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Err(Errno::INVAL) => return Ok(()), // the kernel counts no further
            Ok(true) if !kept.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub(super) fn probe_no_new_privs() -> Result<(), String> {
    no_new_privs().map(drop).map_err(|e| format!("the kernel does not know it ({e})"))
}

/// Root takes them from itself. Whoever is not has none, and gains none as long as `no-new-privs` holds.
pub(super) fn probe_capabilities() -> Result<(), String> {
    let held = capabilities(None).map_err(|e| format!("the node's own cannot be read ({e})"))?.effective;
    if held.is_empty() || held.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    Err("the node lacks CAP_SETPCAP, and cannot take capabilities from its tasks for good".into())
}
