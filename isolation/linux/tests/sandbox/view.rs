//! What a task sees and reaches of the machine: of other tasks, of the node, of the kernel and of devices.

use super::{
    data, ended, executor, neighbour, script,
    support::{Bench, guest, lives},
    without,
};
use std::{fs, os::unix::net::UnixListener, path::Path, process::Command};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{MountPoint, MountSource, TaskSpec, WORK_FOLDER};
use taffeta_model::{Exit, Measure};

#[tokio::test]
async fn a_task_reaches_nothing_of_another_nor_of_the_node_nor_of_its_shim() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    neighbour(&executor, &bench).await;
    let data = data(&bench);
    fs::write(data.join("admin.token"), "token").unwrap();
    let _api = UnixListener::bind(data.join("api.sock")).unwrap();
    let file = format!("tasks/neighbour/{WORK_FOLDER}/file");
    let paths = ["admin.token", "api.sock", "tasks/neighbour", &file, "tasks/r1/ctl.sock"];
    let paths = paths.into_iter().chain(["tasks/r1/spec.json", "tasks/r1/launch.json", "tasks/r1/stdout.log"]);
    let paths: Vec<String> = paths.map(|path| data.join(path).display().to_string()).collect();
    let look = format!(
        "for path in {}; do [ -e $path ] && echo $path; done; ls -A {} {}/r1",
        paths.join(" "),
        bench.root.display(),
        bench.root.display()
    );
    let (_, said) = ended(&executor, script(&bench, "r1", &look)).await;
    let root = bench.root.display();
    assert_eq!(said, format!("{root}:\nr1\n\n{root}/r1:\nwork\n"));

    let loose = [Measure::HiddenFolders, Measure::PrivateTmp, Measure::Landlock];
    let still = TaskSpec { isolation: without(&loose), ..script(&bench, "r1-loose", &look) };
    let (_, said) = ended(&executor, still).await;
    assert!(!said.contains("admin.token") && !said.contains("api.sock") && !said.contains(&file), "{said}");
    let bare = without(&[Measure::MountNamespace, Measure::Landlock]);
    let (_, said) = ended(&executor, TaskSpec { isolation: bare, ..script(&bench, "r1-bare", &look) }).await;
    assert!(said.contains("admin.token") && said.contains(&file), "{said}");
}

#[tokio::test]
async fn what_configures_the_node_is_empty_to_tasks_wherever_it_lies() {
    let bench = Bench::new();
    let Some(_) = executor(&bench) else { return };
    let elsewhere =
        tempfile::tempdir_in(if rustix::process::geteuid().is_root() { "/var/lib" } else { "/var/tmp" }).unwrap();
    let (file, link) = (elsewhere.path().join("taffeta.toml"), elsewhere.path().join("link.toml"));
    fs::write(&file, "token").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let (masked, hidden) = (vec![link.clone(), elsewhere.path().join("none")], vec![data(&bench)]);
    let config = LinuxConfig { best_effort: true, hidden, masked, ..bench.config() };
    let executor = LinuxExecutor::new(config).unwrap();
    let look = format!("cat {} {} /in/taffeta.toml 2>/dev/null | wc -c", file.display(), link.display());
    let loose = [Measure::HiddenFolders, Measure::ReadOnlyRoot, Measure::PrivateTmp];
    for (run_id, loosened) in [("r1", vec![]), ("r2", loose.to_vec()), ("r3", vec![Measure::MountNamespace])] {
        if run_id == "r3" && guest::is_guest() {
            continue; // landlock alone keeps it from it then
        }
        let mut spec = TaskSpec { isolation: without(&loosened), ..script(&bench, run_id, &look) };
        if run_id != "r3" {
            let source = MountSource::Host(elsewhere.path().into());
            spec.mounts = vec![MountPoint { at: "/in".into(), source, read_only: true }];
        }
        let (_, said) = ended(&executor, spec).await;
        assert_eq!(said.lines().last(), Some("0"), "{run_id}: {said}");
    }
    let bare = without(&[Measure::MountNamespace, Measure::Landlock]);
    let (_, said) = ended(&executor, TaskSpec { isolation: bare, ..script(&bench, "r4", &look) }).await;
    assert_eq!(said.lines().last(), Some("10"), "{said}");
}

#[tokio::test]
async fn a_task_sees_and_signals_its_own_processes_alone() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let pid = neighbour(&executor, &bench).await;
    let look = format!(
        "ls /proc | grep -c '^[0-9]'; cat /proc/{pid}/environ | tr '\\0' '\\n' | grep SECRET; kill -0 {pid} && echo reached; \
         echo $$; cat /proc/1/comm"
    );
    let (_, said) = ended(&executor, script(&bench, "r1", &look)).await;
    assert!(!said.contains("of-the-neighbour") && !said.contains("reached"), "{said}");
    let first = said.lines().next().unwrap().parse::<u32>().unwrap();
    assert!(first <= 5, "init, the shell and what it has started: {said}");
    assert!(said.contains("\n2\n") && said.contains("taffeta-init\n"), "{said}");

    let (exit, _) = ended(&executor, script(&bench, "kills-all", "kill -9 -1; kill -9 1; exit 3")).await;
    assert_eq!(exit, Exit::Code(3), "init cannot be killed from inside, and nobody else was met");
    assert!(lives(pid), "the neighbour is unharmed");

    let loose =
        TaskSpec { isolation: without(&[Measure::PidNamespace, Measure::Landlock]), ..script(&bench, "loose", &look) };
    let (_, said) = ended(&executor, loose).await;
    assert!(said.contains("reached"), "{said}");
}

/// System V shared memory of the machine; gone with its test.
struct SharedMemory(String);

impl SharedMemory {
    fn make() -> Result<Self, String> {
        let made = Command::new("ipcmk").args(["-M", "4096"]).output().map_err(|e| format!("ipcmk: {e}"))?;
        let said = String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
        let number = said.trim().rsplit(' ').next().filter(|_| made.status.success());
        number.map(|number| Self(number.to_owned())).ok_or(said)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let _ = Command::new("ipcrm").args(["-m", &self.0]).status();
    }
}

#[tokio::test]
async fn a_task_has_a_name_and_shared_memory_of_the_machine_only_if_that_is_wanted() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let memory = match SharedMemory::make() {
        Ok(memory) => memory,
        Err(why) => return eprintln!("SKIPPED: no shared memory can be made here: {why}"),
    };
    let machines = ["ipc", "uts"].map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap());
    let look =
        format!("readlink /proc/self/ns/ipc /proc/self/ns/uts; awk '$2 == {}' /proc/sysvipc/shm | wc -l", memory.0);
    let (_, said) = ended(&executor, script(&bench, "r1", &look)).await;
    let [ipc, uts, seen] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(Path::new(ipc) != machines[0] && Path::new(uts) != machines[1], "{said}");
    assert_eq!(seen, "0", "what others share is not seen");

    let isolation = without(&[Measure::IpcNamespace, Measure::UtsNamespace]);
    let (_, said) = ended(&executor, TaskSpec { isolation, ..script(&bench, "loose", &look) }).await;
    let [ipc, uts, seen] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(Path::new(ipc) == machines[0] && Path::new(uts) == machines[1], "{said}");
    assert_eq!(seen, "1");
}

#[tokio::test]
async fn a_task_writes_to_its_folder_alone_and_its_temporary_files_are_its_own() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    let write = format!(
        "for at in / /etc /usr /var/lib /opt /root {outside} /proc/sys/kernel /sys/fs/cgroup; do echo > $at/{name} && echo wrote $at; \
         done 2>/dev/null; for at in . /tmp /var/tmp /dev/shm /run; do echo mine > $at/{name}-own && cat $at/{name}-own; done",
        outside = outside.path().display(),
    );
    let (exit, said) = ended(&executor, script(&bench, "r1", &write)).await;
    assert_eq!((exit, said.as_str()), (Exit::Code(0), "mine\nmine\nmine\nmine\nmine\n"));
    for at in ["/tmp", "/var/tmp", "/dev/shm", "/run", "/", "/etc", "/opt"] {
        assert!(!Path::new(at).join(name).join(format!("{name}-own")).exists(), "{at}");
        assert!(!Path::new(at).join(format!("{name}-own")).exists(), "{at}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    let fill = "dd if=/dev/zero of=/tmp/big bs=1M count=60 2>&1; stat -c %s /tmp/big";
    let (_, said) = ended(&executor, script(&bench, "fills", fill)).await;
    assert!(said.contains("No space left") && said.contains("\n33554432\n"), "half of its memory: {said}");

    let loose = without(&[Measure::ReadOnlyRoot, Measure::PrivateTmp, Measure::Landlock]);
    let (_, said) = ended(
        &executor,
        TaskSpec {
            isolation: loose,
            ..script(&bench, "loose", &format!("echo > {}/x && echo wrote", outside.path().display()))
        },
    )
    .await;
    assert_eq!(said, "wrote\n");
    assert!(outside.path().join("x").exists());
}

#[tokio::test]
async fn a_task_mounts_nothing_and_makes_no_device_nor_namespace() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let tries = "mount -t tmpfs none /mnt && echo mounted; umount /tmp && echo unmounted; mount -o remount,rw / && echo remounted; \
                 mknod x b 254 0 && echo device; unshare -m true && echo namespace; unshare -U true && echo user; \
                 chroot / true && echo root; nsenter -t 1 -m true && echo entered";
    let (_, said) = ended(&executor, script(&bench, "r1", &format!("({tries}) 2>/dev/null; :"))).await;
    assert_eq!(said, "");
    let loose = without(&[Measure::Capabilities, Measure::Landlock]);
    let roots = script(&bench, "loose", "chroot / true && echo root");
    let (_, said) = ended(&executor, TaskSpec { isolation: loose, ..roots }).await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(said, "root\n");
    }
}

#[tokio::test]
async fn proc_and_sys_tell_and_change_nothing_of_the_kernel() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let look = "for f in interrupts kcore keys timer_list sysrq-trigger; do [ -e /proc/$f ] && head -c 4 /proc/$f | wc -c; done; ls /sys/firmware | wc -l; \
                for f in /proc/sysrq-trigger /proc/sys/kernel/panic /proc/sys/vm/drop_caches /sys/kernel/mm/ksm/run; do \
                echo 0 > $f && [ $f != /proc/sysrq-trigger ] && echo wrote $f; done 2>/dev/null; cat /etc/shadow | wc -c; \
                echo 7 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj";
    let (_, said) = ended(&executor, script(&bench, "r1", look)).await;
    assert!(!said.contains("wrote"), "{said}");
    let numbers: Vec<&str> = said.lines().collect();
    let (last, zeros) = numbers.split_last().unwrap();
    assert!(zeros.iter().all(|line| *line == "0"), "{said}");
    assert_eq!(*last, "7", "its own affairs are its own: {said}");
    let writable = TaskSpec { isolation: without(&[Measure::ReadOnlyRoot]), ..script(&bench, "writable", look) };
    let (_, said) = ended(&executor, writable).await;
    assert!(!said.contains("wrote"), "{said}");
    if bench.group(&executor, "memory", "x").is_some() {
        let limits = "exec 2>/dev/null; find /sys/fs/cgroup -name pids.max -writable | head -1; find /sys/fs/cgroup -name cgroup.procs | head -1 | wc -l";
        let isolation = without(&[Measure::ReadOnlyRoot, Measure::Landlock]);
        let (_, said) = ended(&executor, TaskSpec { isolation, ..script(&bench, "limits", limits) }).await;
        assert_eq!(said, "1\n", "groups are there, and none can be written to");
    }
    let loose = TaskSpec {
        isolation: without(&[Measure::MaskedProc]),
        ..script(&bench, "loose", "head -c 4 /proc/interrupts | wc -c")
    };
    let (_, said) = ended(&executor, loose).await;
    assert_eq!(said, "4\n");
}

#[tokio::test]
async fn a_task_has_the_devices_that_any_program_may_use() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let look = "cd /dev; echo *; echo x > null; head -c 3 zero | wc -c; head -c 3 urandom | wc -c; echo y >> fd/1; \
                [ -c pts/ptmx ] && echo terminals; python3 -c 'import pty; m, s = pty.openpty(); print(\"pty\")'";
    let (_, said) = ended(&executor, script(&bench, "r1", look)).await;
    let wanted = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero\n3\n3\ny\nterminals\npty\n";
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn a_task_with_the_machines_devices_has_no_disks() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let look = "ls / > /dev/null && ls /dev > /dev/null && : >> /dev/kmsg && echo devices; \
                for disk in $(find /dev -xdev -type b); do head -c 1 $disk > /dev/null 2>&1 && echo $disk; done; :";
    let loose = TaskSpec { isolation: without(&[Measure::PrivateDevices]), ..script(&bench, "r1", look) };
    let (_, said) = ended(&executor, loose).await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(said, "devices\n");
    }
}

#[tokio::test]
async fn shared_memory_is_the_machines_and_writable_if_that_is_wanted() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let name = format!("taffeta-shm-{}", std::process::id());
    let write = format!("echo x > /dev/shm/{name} && rm /dev/shm/{name} && echo wrote");
    let there = format!("[ -e /dev/shm/{name} ] && echo there; {write}");
    for (n, loose) in [vec![Measure::PrivateTmp], vec![Measure::PrivateTmp, Measure::PrivateDevices]].iter().enumerate()
    {
        fs::write(Path::new("/dev/shm").join(&name), "").unwrap();
        let spec = script(&bench, &format!("r{n}"), &there);
        let (_, said) = ended(&executor, TaskSpec { isolation: without(loose), ..spec }).await;
        assert_eq!(said, "there\nwrote\n", "{loose:?}");
        assert!(!Path::new("/dev/shm").join(&name).exists());
    }
}
