//! A pseudo-terminal for a command.

use crate::sys;
use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open},
    io::{read, write},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{io, os::fd::OwnedFd, path::Path, process::Command};
use taffeta_isolation_plan::TerminalSize;
use tokio::io::{Interest, unix::AsyncFd};

/// The agent's end of it.
#[derive(Debug)]
pub(crate) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Makes one, and gives it to a command that leads a session of its own: see [`crate::enter::Entering`]. To be called
    /// inside of a runtime. `terminals` is the `ptmx` of where it has its name.
    pub(crate) fn give_to(command: &mut Command, size: TerminalSize, terminals: &Path) -> io::Result<Self> {
        let ours = open(terminals, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        unlockpt(&ours)?;
        // By the file and not by its name, which may be another's here.
        let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs.try_clone()?);
        sys::take_terminal(command, theirs);
        let terminal = Self(sys::watched(ours)?);
        terminal.resize(size);
        Ok(terminal)
    }

    /// Reads; 0 when nobody has the other end any more. Safe to cancel.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.0.async_io(Interest::READABLE, |ours| Ok(read(ours, &mut *buffer)?)).await;
        match result {
            // The other end is closed.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => Ok(0),
            other => other,
        }
    }

    /// Writes some of it; how much. Safe to cancel.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |ours| Ok(write(ours, bytes)?)).await
    }

    /// Sets its size; whoever reads from it is told by SIGWINCH.
    pub(crate) fn resize(&self, size: TerminalSize) {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(self.0.get_ref(), size); // fails for what is no terminal, which this is
    }
}
