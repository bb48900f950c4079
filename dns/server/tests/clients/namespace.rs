//! A network and files of its own for a test that needs port 53 and a resolv.conf.

use std::{
    env, fs,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Tells a test that it is inside, and where its files are.
const INSIDE: &str = "TAFFETA_TEST_INSIDE";
/// The network has only a loopback device, which is down at first. What C libraries read is laid over that of the
/// machine; the words after the folder are what to run.
const SET_UP: &str = "ip link set lo up && for file in resolv.conf nsswitch.conf; do \
                      if [ -e /etc/$file ]; then mount --bind \"$0/$file\" /etc/$file || exit 1; fi; done && exec \"$@\"";

/// Runs a test once more in a network of its own, where 127.0.0.1 is the only name server. `true` inside: then the test
/// has to go on. `false` outside, once the test inside has passed or if it cannot be run; its end ends all that it
/// started.
pub(crate) fn enter(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let can = unshare().arg("sh").args(["-c", "ip link set lo up"]).stdin(Stdio::null()).output();
    match can {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!("SKIPPED: no network of its own here: {}", String::from_utf8_lossy(&output.stderr).trim());
            return false;
        }
        Err(error) => {
            eprintln!("SKIPPED: unshare is not installed (Debian: util-linux): {error}");
            return false;
        }
    }
    let folder = TempDir::new().unwrap();
    let resolv_conf = "nameserver 127.0.0.1\nsearch shop.fabric.internal\noptions timeout:5 attempts:2\n";
    fs::write(folder.path().join("resolv.conf"), resolv_conf).unwrap();
    fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let mut command = unshare();
    command.args(["sh", "-c", SET_UP]).arg(folder.path()).arg(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, folder.path()).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("running 1 test"), "{test} is no test: {told}");
    assert!(output.status.success(), "{told}");
    told.lines().filter(|line| line.contains("SKIPPED")).for_each(|line| eprintln!("{line}"));
    false
}

/// All that runs inside is ended by the end of the first process of it, and that by the end of unshare.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}
