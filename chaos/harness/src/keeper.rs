//! Who sweeps when a test process is killed: a process beside it, which hears when it is gone.
//!
//! It is the test's own program, told to run one test that calls [`keep`]: so the same sweep is done as at the end of a test
//! and at the start of the next.

use crate::sweep::sweep;
use std::{
    env,
    io::{self, BufRead, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Set for the keeper.
const KEEPER: &str = "TAFFETA_TEST_KEEPER";

/// Sweeps a folder once this process is gone; dropped, it has nothing to do.
#[derive(Debug)]
pub(crate) struct Keeper(Child);

impl Keeper {
    /// A keeper of this folder that runs the test of this name.
    pub(crate) fn start(folder: &Path, test: &str) -> Self {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", test, "--ignored"]).env(KEEPER, "yes");
        command.process_group(0); // a terminal's signals are not for it
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut keeper = command.spawn().expect("this program runs once more");
        let input = keeper.stdin.as_mut().expect("a pipe");
        writeln!(input, "{}", folder.display()).expect("it lives");
        Self(keeper)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.wait(); // closes its input first
    }
}

/// Waits until the process that has started this one is gone, and sweeps what it has left. Returns at once in a process that
/// is no keeper.
pub fn keep() {
    if env::var_os(KEEPER).is_none() {
        return;
    }
    let mut input = io::stdin().lock();
    let mut folder = String::new();
    let heard = input.read_line(&mut folder).and_then(|_| input.read_to_end(&mut vec![])); // ends with the process
    heard.expect("a pipe");
    let folder = Path::new(folder.trim_end_matches('\n'));
    if folder.is_absolute() && folder.exists() {
        eprintln!("sweeping {}, whose test was killed", folder.display());
        sweep(folder);
    }
}
