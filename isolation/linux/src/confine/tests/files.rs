//! What landlock keeps from a process that sees all of the machine.

use super::{Place, confined, has, has_landlock, is_root};
use std::{
    fs,
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
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
        place.run(Profile::Standard, &[Measure::HiddenFolders], &["sh", "-c", attempt]).refused(DENIED);
        let _ = fs::remove_file(place.work().join("here"));
        place.run(Profile::Standard, &OPEN, &["sh", "-c", attempt]).passed();
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
    let Some(other) = Place::new() else { return };
    let file = other.data.join("world-readable");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(place.run(Profile::Standard, &[], &["cat", path]).passed(), "x");
    place.run(Profile::Strict, &[], &["cat", path]).refused(DENIED);
    place.run(Profile::Strict, &[], &["ls", "/var"]).refused(DENIED);
    assert!(place.run(Profile::Strict, &[], &["sh", "-c", "ls /usr && cat /etc/passwd"]).passed().contains("root:"));
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
    // A machine that may be written to is still not to be told what to do, nor are the limits of tasks.
    let writable = [Measure::ReadOnlyRoot];
    let outside = Path::new("/var/lib").join(format!("taffeta-writable-{}", std::process::id()));
    let write = format!("echo > {0} && rm {0}", outside.display());
    place.run(Profile::Standard, &writable, &["sh", "-c", &write]).passed();
    for path in
        ["/proc/sys/kernel/hostname", "/sys/kernel/mm/ksm/run"].into_iter().filter(|path| Path::new(path).exists())
    {
        let attempt = format!(": >> {path}");
        place.run(Profile::Standard, &writable, &["sh", "-c", &attempt]).refused(DENIED);
        place.run(Profile::None, &[], &["sh", "-c", &attempt]).passed();
    }
}

/// A disk of this machine that root can read, be it a loop device without a file.
fn disk() -> Option<String> {
    let devices = fs::read_dir("/dev").unwrap().flatten();
    let disks = devices.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()));
    disks.map(|entry| entry.path().display().to_string()).find(|path| fs::File::open(path).is_ok())
}

#[test]
fn the_machines_disks_can_be_neither_read_nor_written_whatever_is_loosened() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() || !is_root() {
        return;
    }
    let Some(disk) = disk() else { return eprintln!("SKIPPED: this machine has no disk that can be read") };
    let read = ["head", "-c", "1", &disk];
    let attempts = [format!("head -c 1 {disk}"), format!(": >> {disk}"), format!("cd /dev && head -c 1 {disk}")];
    for without in [vec![], vec![Measure::PrivateDevices], vec![Measure::ReadOnlyRoot]] {
        for (profile, attempt) in
            [Profile::Standard, Profile::Strict].into_iter().flat_map(|p| attempts.iter().map(move |a| (p, a)))
        {
            place.run(profile, &without, &["sh", "-c", attempt]).refused(DENIED);
        }
    }
    place.run(Profile::Standard, &OPEN, &read).passed();
    let loose = [Measure::PrivateDevices];
    let device = "ls /dev >/dev/null && : >> /dev/kmsg && head -c 3 /dev/zero | wc -c";
    assert_eq!(place.run(Profile::Standard, &loose, &["sh", "-c", device]).passed(), "3");
}

#[test]
fn what_configures_the_node_cannot_be_read_without_a_view_of_ones_own() {
    let (Some(place), Some(other)) = (Place::new(), Place::new()) else { return };
    if !has_landlock() {
        return;
    }
    let (settings, beside) = (other.data.join("settings.toml"), other.data.join("beside"));
    fs::write(&settings, "token").unwrap();
    fs::write(&beside, "x").unwrap();
    let mut machine = place.machine();
    machine.hidden.push(settings.clone());
    let read = |path: &Path, without: &[Measure]| {
        let spec = place.spec(Profile::Standard, without);
        place.start(&Confine::of(&spec, &machine), &["cat", path.to_str().unwrap()])
    };
    read(&settings, &[]).refused(DENIED);
    read(&settings, &[Measure::HiddenFolders]).refused(DENIED);
    assert_eq!(read(&beside, &[]).passed(), "x");
    assert_eq!(read(&settings, &OPEN).passed(), "token");
}

#[test]
fn a_folder_in_memory_with_others_secrets_cannot_be_read_without_a_view_of_ones_own() {
    let Some(place) = Place::new() else { return };
    if !has_landlock() {
        return;
    }
    let theirs = tempfile::tempdir_in("/dev/shm").unwrap();
    let own = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(theirs.path().join("secret"), "theirs").unwrap();
    fs::write(own.path().join("secret"), "own").unwrap();
    symlink(own.path(), place.work().parent().unwrap().join("secrets")).unwrap();
    let mut machine = place.machine();
    machine.hidden.push("/dev/shm".into());
    let read = |folder: &Path, without: &[Measure]| {
        let spec = place.spec(Profile::Standard, without);
        place.start(&Confine::of(&spec, &machine), &["cat", folder.join("secret").to_str().unwrap()])
    };
    for without in [vec![], vec![Measure::PrivateTmp, Measure::HiddenFolders, Measure::PrivateDevices]] {
        read(theirs.path(), &without).refused(DENIED);
        assert_eq!(read(own.path(), &without).passed(), "own");
    }
    assert_eq!(read(theirs.path(), &OPEN).passed(), "theirs");
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
