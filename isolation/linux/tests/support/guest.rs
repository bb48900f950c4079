//! This very test program once more on machines with other cgroups: of version 2 alone, in a user-mode Linux that boots in
//! a second or two with the host's files as its root, read-only; and of version 1 alone, where the other is hidden.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Set inside either, with what it is.
const INSIDE: &str = "TAFFETA_TEST_ELSEWHERE";
const GUEST: &str = "guest";
const V1: &str = "v1";

/// What the guest says when its tests begin, and before the status with which they have ended.
const BEGINS: &str = "GUEST-BEGINS";
const ENDED: &str = "GUEST-ENDED ";

/// How long it may take to boot on a busy machine, and to run the tests: a system call costs some 50 us there.
const BOOT: Duration = Duration::from_secs(60);
const TESTS: Duration = Duration::from_secs(420);

/// Whether this is the guest.
pub fn is_guest() -> bool {
    std::env::var_os(INSIDE).is_some_and(|at| at == GUEST)
}

/// How long something may take here that takes at most so long on a machine that is no guest.
pub fn allowed(elsewhere: Duration) -> Duration {
    if is_guest() { elsewhere * 10 } else { elsewhere }
}

/// Runs the tests of this program, but for those with one of these words in their name, where only the hierarchies of
/// version 1 are to be seen. Says why where it cannot.
pub fn run_tests_on_v1(but: &[&str]) {
    let unified = match (std::env::var_os(INSIDE), super::unified()) {
        (None, Some(unified)) if unified != Path::new("/sys/fs/cgroup") => unified,
        (None, _) => return eprintln!("SKIPPED: this machine has no hierarchies of both versions"),
        (Some(_), _) => return,
    };
    // A place of its own for its folders: both sweep what killed tests have left, and each sees other hierarchies.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    let hide = "mount -t tmpfs none \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", hide, "sh"]).arg(unified).arg(std::env::current_exe().unwrap());
    let skipped = but.iter().flat_map(|word| ["--skip", word]);
    command.args(["--nocapture"]).args(skipped).env(INSIDE, V1).env("TMPDIR", folder.path());
    let output = match command.output() {
        Ok(output) if rustix::process::geteuid().is_root() => output,
        Ok(_) => return eprintln!("SKIPPED: needs root to hide a hierarchy"),
        Err(e) => return eprintln!("SKIPPED: unshare: {e}"),
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success() && !said.contains("ok. 0 passed"), "{said}");
    assert!(!said.contains(super::NOT_PERMITTED), "nothing was tested: {said}");
}

/// Runs the tests of this program in the guest but for those with one of these words in their name, and passes if all of
/// them pass there. Says why where it cannot.
pub fn run_tests(but: &[&str]) {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    if let Err(why) = wanting() {
        return eprintln!("SKIPPED: no guest with cgroup v2: {why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let init = folder.path().join("init");
    fs::write(&init, script(but)).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let preloaded = match preloaded(folder.path()) {
        Ok(library) => library,
        Err(why) => return eprintln!("SKIPPED: no guest with cgroup v2: {why}"),
    };
    let (guest, lines) = Guest::boot(&init, &preloaded, folder.path());
    let mut said = vec![];
    let mut wait_for = |word: &str, limit: Duration| {
        let end = Instant::now() + limit;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(word) => return line,
                Ok(line) => {
                    println!("guest: {line}");
                    said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => panic!("no `{word}` within {limit:?}:\n{}", said.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("the guest ended:\n{}", said.join("\n")),
            }
        }
    };
    wait_for(BEGINS, BOOT);
    let ended = wait_for(ENDED, TESTS);
    drop(guest);
    let passed = said.iter().any(|line| line.contains("test result: ok. ") && !line.contains("ok. 0 passed"));
    assert!(ended.ends_with(&format!("{ENDED}0")) && passed, "{ended}\n{}", said.join("\n"));
    let untested: Vec<_> = said.iter().filter(|line| line.contains(super::NOT_PERMITTED)).collect();
    assert!(untested.is_empty(), "nothing was tested: {untested:?}");
}

/// What is missing for it.
fn wanting() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".into());
    }
    for (program, package) in [("linux.uml", "user-mode-linux"), ("unshare", "util-linux"), ("setpriv", "util-linux")] {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|p| p.join(program).exists());
        if !found {
            return Err(format!("`{program}` is missing (package {package})"));
        }
    }
    Ok(())
}

/// Compiles what the guest's kernel needs on new processors.
fn preloaded(folder: &Path) -> Result<PathBuf, String> {
    let library = folder.join("uml_xstate.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../chaos/harness/src/fleet/uml_xstate.c");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]);
    let done = command.output().map_err(|e| format!("cc: {e}"))?;
    if done.status.success() { Ok(library) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// The guest's first process. What the tests write is on a tmpfs; `/tmp` stays the host's, as this program may lie there.
fn script(but: &[&str]) -> String {
    let program = std::env::current_exe().unwrap();
    let skipped: String = but.iter().map(|word| format!(" --skip {word}")).collect();
    format!(
        "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs run /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir /run/tests /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs tests /var/tmp
mount -t tmpfs tests /var/lib
ip link set lo up
export TMPDIR=/run/tests {INSIDE}={GUEST}
cd /run
echo {BEGINS}
'{}' --test-threads=2 --nocapture{skipped} 2>&1
echo {ENDED}$?
exec sleep 1000
",
        program.display()
    )
}

/// A guest that runs; dropped, it is gone with all its processes.
struct Guest(Child);

impl Guest {
    fn boot(init: &Path, preloaded: &Path, folder: &Path) -> (Self, Receiver<String>) {
        // Its kernel is several processes of this machine. In a namespace of their own they all end with the first, which
        // ends with `unshare`, which ends with this thread, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
        command.args(["linux.uml", "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]);
        command.args(["con0=fd:0,fd:1", "con=null", "ssl=null", "umid=guest"]);
        command.arg(format!("uml_dir={}/", folder.display())).arg(format!("init={}", init.display()));
        // Its memory is a file: where that is a tmpfs, no disk is written.
        command.env("TMPDIR", if fs::metadata("/dev/shm").is_ok() { "/dev/shm" } else { "/tmp" });
        command.env("LD_PRELOAD", preloaded);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let read = |stream: Box<dyn std::io::Read + Send>| {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            })
        };
        read(Box::new(out));
        read(Box::new(err));
        (Self(child), lines)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
