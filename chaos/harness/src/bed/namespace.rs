//! Network namespaces without a name: one is there as long as somebody holds it open or runs in it, so none is left by a
//! test that was killed.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
    process::{Command, Stdio},
    thread::scope,
};

/// Of the process that makes one; it stays until the namespace is held open.
const MAKE: &str = "ip link set lo up && echo made && read -r held";
/// The namespace of the thread that opens it.
const MINE: &str = "/proc/thread-self/ns/net";

/// A network namespace, with its loopback up.
#[derive(Debug)]
pub(crate) struct Namespace(File);

/// As long as there is this, the thread that made it is in another namespace, and so is what it starts.
#[derive(Debug)]
pub(crate) struct Inside {
    home: File,
    /// It is of one thread.
    _thread: PhantomData<*const ()>,
}

impl Namespace {
    /// A new one; why there is none, if it cannot be made.
    pub(crate) fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", MAKE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut maker = command.spawn().map_err(|e| format!("unshare: {e}"))?;
        let mut said = String::new();
        if let Some(out) = maker.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut said); // nothing is an error, which follows
        }
        let opened = File::open(format!("/proc/{}/ns/net", maker.id()));
        let output = maker.wait_with_output().map_err(|e| e.to_string())?; // closes its input first: it ends
        if said.trim() != "made" {
            return Err(format!("no network namespace: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        opened.map(Self).map_err(|e| format!("no network namespace: {e}"))
    }

    /// A path by which other processes can open it, as long as this one holds it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does something in it, on a thread that ends.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        let there = || {
            let _inside = self.enter()?;
            work()
        };
        scope(|scope| scope.spawn(there).join().expect("what is done there does not panic"))
    }

    /// Moves this thread into it.
    pub(crate) fn enter(&self) -> Result<Inside, String> {
        let home = File::open(MINE).map_err(|e| format!("{MINE}: {e}"))?;
        enter(&self.0)?;
        Ok(Inside { home, _thread: PhantomData })
    }

    /// Its number, as the kernel shows it: `net:[4026532000]`.
    pub(crate) fn number(&self) -> Result<String, String> {
        let link = std::fs::read_link(self.path()).map_err(|e| e.to_string())?;
        Ok(link.to_string_lossy().into_owned())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        enter(&self.home).expect("the way home is open to whoever came from there");
    }
}

fn enter(namespace: &File) -> Result<(), String> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|e| format!("a network namespace cannot be entered: {e}"))
}
