//! Hearing of it when a v2 group becomes empty, without looking again and again.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::pread,
};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    time::Duration,
};

/// The file `cgroup.events` of a group, kept open. It becomes ready (POLLPRI) when what it says has changed since the
/// last [`Population::look`].
#[derive(Debug)]
pub(crate) struct Population(File);

impl Population {
    pub(crate) fn open(group: &Path) -> Option<Self> {
        File::open(group.join("cgroup.events")).ok().map(Self)
    }

    /// Whether a process is inside, nested groups included. In a group that was removed there is none.
    pub(crate) fn look(&self) -> bool {
        let mut text = [0; 256]; // two lines today
        let read = pread(&self.0, &mut text, 0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..read]);
        text.lines().any(|line| line == "populated 1")
    }

    /// Returns when something has changed since the last look, or after this time.
    pub(crate) fn wait(&self, most: Duration) {
        let most = Timespec::try_from(most).unwrap_or_default();
        let _ = poll(&mut [self.watched()], Some(&most)); // an interruption is a look more
    }

    /// For a poll over several files.
    pub(crate) fn watched(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.as_fd(), PollFlags::PRI)
    }
}

impl AsFd for Population {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
