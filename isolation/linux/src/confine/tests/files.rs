//! What landlock keeps from a process that sees all of the machine.

use super::{Place, confined, has, has_landlock, is_root};
use std::{
    fs,
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    process::{Child, Command, Stdio},
};
use taffeta_isolation_plan::{Confine, WORK_FOLDER};
use taffeta_model::{Measure, Profile};

const DENIED: &str = "ermission denied";
const NOT_PERMITTED: &str = "not permitted";

/// With landlock loosened, as nothing but permissions is then in the way of files.
const OPEN: [Measure; 1] = [Measure::Landlock];

#[test]
fn a_task_writes_to_its_own_folder_and_the_folders_for_all_and_nowhere_else() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    let outside = place.data.join("outside");
    let attempts = [
        format!("echo x > {}", outside.display()),
        format!("echo x > {}/theirs", place.others_work().display()),
        format!("mkdir {}", outside.display()),
        format!("rm {}/kept", place.others_work().display()),
        format!("mv {}/kept {}/taken", place.others_work().display(), place.work().display()),
        format!("ln {}/kept {}/taken", place.others_work().display(), place.work().display()),
        format!("truncate -s 0 {}/kept", place.others_work().display()),
        format!("ln -s / {}", outside.display()),
        format!("mkfifo {}", outside.display()),
    ];
    for attempt in &attempts {
        fs::write(place.others_work().join("kept"), "kept").unwrap();
        for profile in [Profile::Standard, Profile::Strict] {
            let ran = place.run(profile, &[], &["sh", "-c", attempt]);
            assert_ne!(ran.code, Some(0), "{attempt} in {profile}: {ran:?}");
            assert!(ran.err.contains(DENIED) || ran.err.contains("cross-device"), "{attempt} in {profile}: {ran:?}");
            assert!(fs::symlink_metadata(&outside).is_err(), "{attempt}");
            assert_eq!(
                fs::read_to_string(place.others_work().join("kept")).unwrap(),
                "kept",
                "the neighbour is unharmed"
            );
        }
        place.run(Profile::Standard, &OPEN, &["sh", "-c", attempt]).passed();
        let _ = fs::remove_dir(&outside).or_else(|_| fs::remove_file(&outside));
        let _ = fs::remove_file(place.others_work().join("theirs"));
        let _ = fs::remove_file(place.work().join("taken"));
    }
    let own = "echo a > a && mkdir d && mv a d/b && cat d/b && rm -r d && t=$(mktemp) && echo b > $t && cat $t && rm $t && \
               echo c > /dev/null && echo d > /dev/shm/taffeta-$$ && rm /dev/shm/taffeta-$$";
    for profile in [Profile::Standard, Profile::Strict] {
        assert_eq!(place.run(profile, &[], &["sh", "-c", own]).passed(), "a\nb");
    }
}

#[test]
fn a_neighbours_folder_and_the_nodes_data_cannot_be_read_without_a_view_of_ones_own() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    fs::write(place.others_work().join("secret"), "theirs").unwrap();
    fs::write(place.data.join("key"), "the node's").unwrap();
    fs::write(place.work().join("mine"), "mine").unwrap();
    let (theirs, data) = (place.others_work(), place.data.clone());
    let attempts = [
        format!("cat {}/secret", theirs.display()),
        format!("cat {}/key", data.display()),
        format!("ls {}", theirs.display()),
        format!("ls {}/tasks", data.display()),
        format!("ln -s {}/secret here && cat here", theirs.display()),
        format!("cat ../../other/{WORK_FOLDER}/secret"),
        format!("cd {} && cat secret", theirs.display()),
    ];
    for attempt in &attempts {
        for profile in [Profile::Standard, Profile::Strict] {
            place.run(profile, &[], &["sh", "-c", attempt]).refused(DENIED);
            let _ = fs::remove_file(place.work().join("here"));
        }
        place.run(Profile::Standard, &[Measure::HiddenFolders], &["sh", "-c", attempt]).passed();
        let _ = fs::remove_file(place.work().join("here"));
    }
    assert_eq!(place.run(Profile::Standard, &[], &["cat", "mine"]).passed(), "mine");
}

#[test]
fn a_strict_task_reads_programs_and_settings_alone() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    let file = place.data.join("world-readable");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    let open = [Measure::HiddenFolders];
    assert_eq!(place.run(Profile::Standard, &open, &["cat", path]).passed(), "x");
    place.run(Profile::Strict, &open, &["cat", path]).refused(DENIED);
    place.run(Profile::Strict, &open, &["ls", "/var"]).refused(DENIED);
    assert!(place.run(Profile::Strict, &open, &["sh", "-c", "ls /usr && cat /etc/passwd"]).passed().contains("root:"));
}

#[test]
fn what_is_mounted_and_linked_for_a_task_is_open_to_it() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    let volume = place.data.join("volumes/own");
    fs::create_dir_all(&volume).unwrap();
    let mut spec = place.spec(Profile::Strict, &[]);
    spec.links = [("data".to_owned(), volume.clone())].into();
    let script = format!("echo kept > {0}/file && cat {0}/file", volume.display());
    assert_eq!(place.run_spec(&spec, &["sh", "-c", &script]).passed(), "kept");
    place.run(Profile::Strict, &[], &["sh", "-c", &script]).refused(DENIED);
}

#[test]
fn settings_of_the_kernel_and_devices_cannot_be_written_without_a_view_of_ones_own() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() || !is_root() {
        return;
    }
    for path in ["/proc/sys/kernel/hostname", "/proc/self/comm", "/dev/kmsg"] {
        let attempt = format!(": >> {path}");
        place.run(Profile::Standard, &[], &["sh", "-c", &attempt]).refused(DENIED);
        place.run(Profile::None, &[], &["sh", "-c", &attempt]).passed();
    }
    place.run(Profile::Standard, &[], &["sh", "-c", ": > /dev/null && head -c 9 /dev/urandom | wc -c"]).passed();
}

/// A process of nobody's task.
struct Neighbour(Child);

impl Neighbour {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_task_signals_what_it_started_and_nobody_else() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    for profile in [Profile::Standard, Profile::Strict] {
        let mut neighbour = Neighbour::new();
        let pid = neighbour.0.id().to_string();
        place.run(profile, &[], &["sh", "-c", &format!("kill -0 {pid}")]).refused(NOT_PERMITTED);
        place.run(profile, &[], &["sh", "-c", &format!("kill -KILL {pid}")]).refused(NOT_PERMITTED);
        assert!(neighbour.lives());
        let own = "sleep 1000 & kill -TERM $! && { wait $!; echo $?; }";
        assert_eq!(place.run(profile, &[], &["sh", "-c", own]).passed(), "143");
        place.run(profile, &OPEN, &["sh", "-c", &format!("kill -TERM {pid}")]).passed();
        assert!(!neighbour.0.wait().unwrap().success());
    }
}

#[test]
fn what_runs_beside_a_task_signals_it() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    let mut machine = place.machine();
    machine.missing.remove(&Measure::PidNamespace);
    let spec = place.spec(Profile::Standard, &[]);
    let mut task = confined(&Confine::of(&spec, &machine), &["sleep", "1000"]).spawn().unwrap();
    let kill = ["kill".to_owned(), "-TERM".into(), task.id().to_string()];
    let kill: Vec<&str> = kill.iter().map(String::as_str).collect();
    if has(&["kill"]) {
        place.start(&Confine::of(&spec, &machine), &kill).refused(NOT_PERMITTED);
        place.start(&Confine::beside(&spec, &machine), &kill).passed();
    } else {
        let _ = task.kill();
    }
    assert!(!task.wait().unwrap().success());
}

#[test]
fn a_neighbours_process_cannot_be_traced_or_read() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() || !has(&["python3"]) {
        return;
    }
    let mut neighbour = Neighbour::new();
    let pid = neighbour.0.id();
    let attach = format!(
        "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n\
         if c.ptrace(16, {pid}, 0, 0) < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))\n\
         os.waitpid({pid}, 0x40000000); c.ptrace(17, {pid}, 0, 0)"
    );
    let reads =
        [format!("cat /proc/{pid}/environ"), format!("head -c 1 /proc/{pid}/mem"), format!("ls -l /proc/{pid}/exe")];
    for profile in [Profile::Standard, Profile::Strict] {
        place.run(profile, &[], &["python3", "-c", &attach]).refused(NOT_PERMITTED);
        for read in &reads {
            place.run(profile, &[], &["sh", "-c", read]).refused(DENIED);
        }
    }
    if is_root() {
        place.run(Profile::None, &[], &["python3", "-c", &attach]).passed();
        place.run(Profile::None, &[], &["sh", "-c", &reads[0]]).passed();
    }
    assert!(neighbour.lives());
}

#[test]
fn an_abstract_socket_outside_cannot_be_reached() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() || !has(&["python3"]) {
        return;
    }
    let name = format!("taffeta-confine-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    for profile in [Profile::Standard, Profile::Strict] {
        place.run(profile, &[], &["python3", "-c", &connect]).refused(NOT_PERMITTED);
    }
    place.run(Profile::Standard, &OPEN, &["python3", "-c", &connect]).passed();
    listener.accept().unwrap().0.write_all(b"x").unwrap_or_default();
    let own = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0{name}-own'); s.listen()\n\
         socket.socket(socket.AF_UNIX).connect('\\0{name}-own'); s.accept(); print('met')"
    );
    assert_eq!(place.run(Profile::Standard, &[], &["python3", "-c", &own]).passed(), "met");
}
