//! Finding what strangers have named without leaving a folder.

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::{Errno, Result},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread::yield_now,
};

/// How often the kernel is asked. Each of its answers of no use needs a rename or a mount at that very moment.
const TRIES: usize = 10_000;

/// Finds a file or folder below this one, not opened for anything yet; `XDEV` if its path or a link on the way leads out.
///
/// The kernel gives up on a `..` when anything on the machine is renamed or mounted meanwhile (openat2(2), EAGAIN): it
/// cannot say then whether it led out. That is neither a yes nor a no, and asked again; `AGAIN` is the error if it never
/// can.
pub(crate) fn find_beneath(folder: &impl AsFd, path: &Path) -> Result<OwnedFd> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(folder, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), within) {
            Err(Errno::AGAIN) => yield_now(),
            found => return found,
        }
    }
    Err(Errno::AGAIN)
}
