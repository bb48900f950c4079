//! Programs of others.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// For what a program does at once on an idle machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at something that another program changes.
const PAUSE: Duration = Duration::from_millis(50);

/// A program that runs as long as this value lives.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it in the foreground; what it writes is this test's output.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Whether all programs of a list, each with its Debian package, are installed. Says so if not.
pub(crate) fn installed<const N: usize>(needed: [(&str, &str); N]) -> bool {
    needed.iter().all(|(program, package)| {
        let command = |flag| Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let there = command("--version").is_ok();
        if !there {
            eprintln!("SKIPPED: {program} is not installed (Debian: {package})");
        }
        there
    })
}

/// What a program prints; it has to succeed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The lines that it prints, as a set.
pub(crate) fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Waits until a look gives what is expected; fails with what it gave last.
pub(crate) fn eventually<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, mut look: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let seen = look();
        if seen == *expected {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: {seen:?}, not {expected:?}");
        sleep(PAUSE);
    }
}

/// A port of 127.0.0.1 that nobody has, for a program that cannot choose one itself. Somebody may take it before the
/// program does: start it again with another one then.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}
