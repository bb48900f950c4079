//! What a task sees, and what it does not, with real processes that try. Each escape is shown to work once the measure that
//! prevents it is loosened.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use support::{Bench, kill_9, lives, processes, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{
    Executor, FoundState, MountPoint, MountSource, StartError, Stream, TaskSpec, WORK_FOLDER,
};
use taffeta_model::{Exit, Isolation, Measure, Profile, Secret, SecretName};

/// An agent whose data folder lies around its tasks; `None`, and the reason told, where tasks cannot be set apart.
fn executor(bench: &Bench) -> Option<LinuxExecutor> {
    let hidden = vec![data(bench)];
    let executor = LinuxExecutor::new(LinuxConfig { best_effort: true, hidden, ..bench.config() }).unwrap();
    let mut lacking = executor.permitted().measures.lacking.clone();
    lacking.remove(&Measure::UserNamespace); // not a part of `standard`
    if !lacking.is_empty() {
        eprintln!("SKIPPED: this machine cannot set tasks apart: {lacking:?}");
    }
    lacking.is_empty().then_some(executor)
}

fn data(bench: &Bench) -> PathBuf {
    bench.root.parent().unwrap().to_path_buf()
}

fn without(measures: &[Measure]) -> Isolation {
    Isolation { profile: Some(Profile::Standard), without: measures.iter().copied().collect() }
}

fn script(bench: &Bench, run_id: &str, script: &str) -> TaskSpec {
    bench.spec(run_id, &["sh", "-c", script])
}

/// Runs it to its end.
async fn ended(executor: &LinuxExecutor, spec: TaskSpec) -> (Exit, String) {
    let run_id = spec.run_id.clone();
    executor.start(spec).await.unwrap();
    let exit = executor.wait(&run_id).await;
    let read = |stream| fs::read_to_string(executor.log_path(&run_id, stream)).unwrap();
    (exit, read(Stream::Stdout) + &read(Stream::Stderr))
}

/// A task that stays, and has written to `ready`.
async fn neighbour(executor: &LinuxExecutor, bench: &Bench) -> u32 {
    let mut spec = script(bench, "neighbour", "echo mine > file; : > ready; exec sleep 1000");
    spec.env.insert("SECRET".into(), "of-the-neighbour".into());
    let pid = executor.start(spec).await.unwrap().pid;
    until("the neighbour is there", || bench.work("neighbour").join("ready").exists()).await;
    pid
}

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
    for (run_id, loosened, wanted) in
        [("r1", vec![], "0\n"), ("r2", loose.to_vec(), "0\n"), ("r3", vec![Measure::MountNamespace], "0\n")]
    {
        let mut spec = TaskSpec { isolation: without(&loosened), ..script(&bench, run_id, &look) };
        if run_id != "r3" {
            let source = MountSource::Host(elsewhere.path().into());
            spec.mounts = vec![MountPoint { at: "/in".into(), source, read_only: true }];
        }
        let (_, said) = ended(&executor, spec).await;
        assert!(said.ends_with(wanted), "{run_id}: {said}");
    }
    let bare = without(&[Measure::MountNamespace, Measure::Landlock]);
    let (_, said) = ended(&executor, TaskSpec { isolation: bare, ..script(&bench, "r4", &look) }).await;
    assert!(said.ends_with("10\n"), "{said}");
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
async fn exit_codes_and_signals_are_told_as_they_were() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    for (run_id, end, exit) in [
        ("zero", "exit 0", Exit::Code(0)),
        ("code", "exit 42", Exit::Code(42)),
        ("like-a-signal", "exit 137", Exit::Code(137)),
        ("kill", "kill -KILL $$", Exit::Signal(9)),
        ("segv", "kill -SEGV $$", Exit::Signal(11)),
        ("term", "kill -TERM $$", Exit::Signal(15)),
        ("realtime", "kill -40 $$", Exit::Signal(40)),
    ] {
        assert_eq!(ended(&executor, script(&bench, run_id, end)).await.0, exit, "{run_id}");
    }
}

#[tokio::test]
async fn what_a_task_leaves_behind_is_reaped_and_dies_with_it() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let mark = format!("1000.{}", std::process::id());
    let orphans = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sh -c 'exit 1' &); done; (env -i setsid sleep {mark} &); \
         for i in 1 2 3 4 5 6 7 8 9 10; do grep -l '^State:.Z' /proc/[0-9]*/status > zombies 2>/dev/null; [ -s zombies ] || break; sleep 0.1; done; \
         wc -l < zombies; echo done"
    );
    // Without cgroups nothing but the namespace finds a process that has hidden what it was started by.
    let (exit, said) = ended(&executor, script(&bench, "r1", &orphans)).await;
    assert_eq!((exit, said.as_str()), (Exit::Code(0), "0\ndone\n"));
    assert_eq!(processes(&mark), 0);

    let stays = format!("(env -i setsid sleep {mark} &); : > ready; exec sleep 1000");
    executor.start(script(&bench, "r2", &stays)).await.unwrap();
    until("both run", || bench.work("r2").join("ready").exists() && processes(&mark) == 1).await;
    kill_9(bench.shim_pid("r2"));
    until("all died with the shim, without any agent", || processes(&mark) == 0).await;
    assert_eq!(executor.wait("r2").await, Exit::Lost);
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_is_killed() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let pid = executor
        .start(script(&bench, "r1", "trap '' TERM; : > ready; while :; do sleep 0.05; done"))
        .await
        .unwrap()
        .pid;
    until("it is deaf", || bench.work("r1").join("ready").exists()).await;
    executor.signal("r1", 15).await.unwrap();
    assert!(lives(pid));
    executor.kill("r1").await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Signal(9));
    assert!(!lives(pid));
}

#[tokio::test]
async fn what_an_app_mounts_is_where_it_says_in_that_order() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(host.path().join("file"), "of the machine\n").unwrap();
    fs::write(host.path().join("hosts"), "127.0.0.1 only\n").unwrap();
    let point = |at: &str, source, read_only| MountPoint { at: at.into(), source, read_only };
    let folder = || MountSource::Host(host.path().into());
    let mut spec = script(
        &bench,
        "r1",
        "cat /data/file /data/deep/file /srv/a/b/file /etc/hosts; echo 1 > /srv/a/b/new; echo 2 > /data/new || echo refused; \
         echo 3 > /scratch/x && cat /scratch/x; dd if=/dev/zero of=/scratch/y bs=1M count=9 2>&1 | grep -o 'No space left'; \
         [ -e /etc/passwd ] && [ -x /bin/sh ] && ls -A / | wc -l",
    );
    spec.mounts = vec![
        point("/data", folder(), true),
        point("/data/deep", MountSource::Tmpfs { bytes: 1 << 20 }, false),
        point("/srv/a/b", folder(), false),
        point("/scratch", MountSource::Tmpfs { bytes: 8 << 20 }, false),
        point("/etc/hosts", MountSource::Host(host.path().join("hosts")), true),
    ];
    // What lies in a folder that is mounted read-only cannot be a mount point unless it is there.
    fs::create_dir(host.path().join("deep")).unwrap();
    fs::write(host.path().join("deep/file"), "hidden\n").unwrap();
    spec.mounts.remove(1);
    let (_, said) = ended(&executor, spec).await;
    let roots = fs::read_dir("/").unwrap().count() + 2;
    let wanted =
        format!("of the machine\nhidden\nof the machine\n127.0.0.1 only\nrefused\n3\nNo space left\n{roots}\n");
    assert_eq!(
        said.lines().filter(|line| !line.contains("cannot create")).map(|line| format!("{line}\n")).collect::<String>(),
        wanted
    );
    assert_eq!(fs::read_to_string(host.path().join("new")).unwrap(), "1\n");
    assert!(!Path::new("/data").exists() && !Path::new("/scratch").exists() && !Path::new("/srv/a").exists());

    let missing = vec![point("/data", MountSource::Host("/nonexistent/folder".into()), true)];
    let error = executor.start(TaskSpec { mounts: missing, ..script(&bench, "r2", "true") }).await.unwrap_err();
    let wanted = "cannot show /nonexistent/folder at /data: No such file or directory";
    assert!(error.to_string().contains(wanted), "{error}");
    assert!(!bench.root.join("r2").exists(), "nothing is left of it");
}

#[tokio::test]
async fn what_is_mounted_in_a_volume_leaves_the_volume_as_it_is() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(volume.join("old")).unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    let point = |at: &str, source| MountPoint { at: at.into(), source, read_only: false };
    let memory = || MountSource::Tmpfs { bytes: 1 << 20 };
    let mounts = |at: &[&str]| {
        let inner = at.iter().map(|at| point(at, memory()));
        [point("/data", MountSource::Host(volume.clone()))].into_iter().chain(inner).collect::<Vec<_>>()
    };
    let write = "echo 1 > /data/file; echo 2 > /data/old/file; echo 3 > /data/a/b/file; stat -f -c %T /data/a/b; \
                 grep -c ' /data/a/b ' /proc/mounts; ls /data";
    let strict = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let mut isolations = vec![without(&[])];
    isolations.extend((!executor.permitted().measures.lacking.contains_key(&Measure::UserNamespace)).then_some(strict));
    for (n, isolation) in isolations.into_iter().enumerate() {
        let spec = script(&bench, &format!("r{n}"), write);
        let (_, said) = ended(&executor, TaskSpec { isolation, mounts: mounts(&["/data/a/b"]), ..spec }).await;
        assert_eq!(said, "tmpfs\n1\na\nfile\nold\nout\n");
        assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(volume.join("old/file")).unwrap(), "2\n");
        assert_eq!(fs::read_dir(volume.join("a/b")).unwrap().count(), 0, "what was memory is not on the disk");
        assert_eq!(fs::metadata(volume.join("a/b")).unwrap().uid(), fs::metadata(&volume).unwrap().uid());
        ["file", "old/file"].iter().for_each(|file| fs::remove_file(volume.join(file)).unwrap());
        fs::remove_dir_all(volume.join("a")).unwrap();
    }
    // A link in a volume makes nothing on the machine.
    let name = format!("taffeta-{}", std::process::id());
    let through = script(&bench, "link", "echo ran");
    let _ = executor.start(TaskSpec { mounts: mounts(&[&format!("/data/out/{name}/x")]), ..through }).await;
    assert!(!Path::new("/etc").join(&name).exists() && !volume.join("out").join(&name).exists());

    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    let mounts = vec![point("/in", MountSource::Host(host.path().into())), point("/in/cache", memory())];
    let error = executor.start(TaskSpec { mounts, ..script(&bench, "host", "true") }).await.unwrap_err().to_string();
    assert!(error.contains("/in/cache: it is missing in what is mounted at /in"), "{error}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
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
async fn strict_takes_a_node_that_is_root() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let lacking = executor.permitted().measures.lacking.get(&Measure::UserNamespace).cloned();
    if rustix::process::geteuid().is_root() {
        return assert!(lacking.is_none_or(|why| !why.contains("not root")));
    }
    assert!(lacking.is_some_and(|why| why.contains("not root")));
    let isolation = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let told = executor.start(TaskSpec { isolation, ..script(&bench, "r1", "true") }).await.unwrap().not_isolated;
    assert!(told.iter().any(|gap| gap.starts_with("user-namespace: ")), "{told:?}");
}

#[tokio::test]
async fn a_task_whose_user_was_taken_away_gets_into_its_volume() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root gives no volume to others");
    }
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
    let links = || [("v".to_owned(), volume.clone())].into();
    let users =
        TaskSpec { user: Some("1234".parse().unwrap()), links: links(), ..script(&bench, "r1", "echo 1 > v/one") };
    assert_eq!(ended(&executor, users).await, (Exit::Code(0), String::new()));
    let roots = TaskSpec { links: links(), ..script(&bench, "r2", "echo 2 > v/two && cat v/one v/two") };
    assert_eq!(ended(&executor, roots).await, (Exit::Code(0), "1\n2\n".into()));
}

#[tokio::test]
async fn a_task_becomes_whom_the_machine_means_by_its_user() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root becomes nobody else");
    }
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    let passwd = host.path().join("passwd");
    fs::write(&passwd, "nobody:x:0:0::/:/bin/sh\n").unwrap();
    let mut spec = TaskSpec { user: Some("nobody".parse().unwrap()), ..script(&bench, "r1", "cat /etc/passwd; id -u") };
    spec.mounts = vec![MountPoint { at: "/etc/passwd".into(), source: MountSource::Host(passwd), read_only: true }];
    assert_eq!(ended(&executor, spec).await.1, "nobody:x:0:0::/:/bin/sh\n65534\n");
}

#[tokio::test]
async fn a_run_whose_spec_cannot_be_read_is_left_alone() {
    let bench = Bench::new();
    let agent = bench.executor();
    let pid = agent.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap().pid;
    let path = bench.root.join("r1/spec.json");
    let spec = fs::read(&path).unwrap();
    fs::write(&path, "{\"of\": \"another release\"}").unwrap();
    assert!(bench.executor().recover().await.is_empty() && lives(pid));
    fs::remove_file(&path).unwrap();
    assert!(bench.executor().recover().await.is_empty() && lives(pid), "its shim lives");
    fs::write(&path, spec).unwrap();
    let found = bench.executor().recover().await;
    assert!(matches!(found[0].state, FoundState::Running { pid: again, .. } if again == pid), "{found:?}");
}

#[tokio::test]
async fn a_volume_is_reached_by_its_link_and_its_path_though_all_around_it_is_hidden() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let volume = data(&bench).join("volumes/shop/db.1/data@0.1.7");
    fs::create_dir_all(&volume).unwrap();
    fs::create_dir_all(data(&bench).join("volumes/shop/db.2/data@0.1.8")).unwrap();
    let mut spec = script(
        &bench,
        "r1",
        &format!(
            "echo kept > data/file; cat {}/file; ls {}",
            volume.display(),
            data(&bench).join("volumes/shop").display()
        ),
    );
    spec.links = [("data".to_owned(), volume.clone())].into();
    let (exit, said) = ended(&executor, spec).await;
    assert_eq!((exit, said.as_str()), (Exit::Code(0), "kept\ndb.1\n"));
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "kept\n");
}

#[tokio::test]
async fn a_command_beside_the_task_is_inside_with_it() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    executor
        .start(script(&bench, "r1", "echo here > /tmp/file; echo $$ > main; : > ready; exec sleep 1000"))
        .await
        .unwrap();
    until("it runs", || bench.work("r1").join("ready").exists()).await;
    let check = async |script: &str| {
        let run = ["sh", "-c", script].map(str::to_owned);
        executor.run_check("r1", &run, support::PATIENCE).await
    };
    assert!(check("grep -q here /tmp/file && [ $(cat /proc/1/comm) = taffeta-init ] && kill -0 $(cat main)").await);
    assert!(check("[ $PWD = $HOME ] && [ $GREETING = hello ]").await);
    assert!(!check("kill -9 $$").await && !check("exit 1").await && check("exit 0").await);
    assert!(!check("mount -t tmpfs none /mnt").await && !check("echo > /etc/x").await);
    let groups = "for g in memory pids freezer; do grep -q \"$g:/taffeta/.*/r1\" /proc/self/cgroup || exit 1; done";
    if bench.group(&executor, "memory", "r1").is_some_and(|group| group.starts_with("/sys/fs/cgroup/memory")) {
        assert!(check(groups).await);
    }
}

#[tokio::test]
async fn a_strict_task_is_nobody_on_the_machine_and_its_files_are_its_own() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: who is not root has no other ids to give");
    }
    if let Some(why) = executor.permitted().measures.lacking.get(&Measure::UserNamespace) {
        return eprintln!("SKIPPED: {why}");
    }
    let strict = Isolation { profile: Some(Profile::Strict), without: BTreeSet::new() };
    let volume = data(&bench).join("volumes/v");
    fs::create_dir_all(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(host.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = script(
        &bench,
        "r1",
        "id -u; echo out > /dev/stdout; echo x > file; stat -c %u file; echo y > v/file; cat $TAFFETA_SECRETS/db; echo; echo z > /srv/file || echo refused; : > ready; exec sleep 1000",
    );
    spec.env.insert("TAFFETA_SECRETS".into(), spec.folder.join("secrets").display().to_string());
    spec.secrets.files = [(SecretName::new("db").unwrap(), Secret::new(b"value".to_vec()))].into();
    spec.links = [("v".to_owned(), volume.clone())].into();
    spec.mounts =
        vec![MountPoint { at: "/srv".into(), source: MountSource::Host(host.path().into()), read_only: false }];
    spec.isolation = strict.clone();
    let pid = executor.start(spec).await.unwrap().pid;
    until("it is ready", || bench.work("r1").join("ready").exists()).await;
    let said = fs::read_to_string(executor.log_path("r1", Stream::Stdout)).unwrap();
    assert_eq!(said, "0\nout\n0\nvalue\nrefused\n");
    let uid = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert!(uid >= 0x7000_0000, "{uid}");
    for file in [bench.work("r1").join("file"), volume.join("file")] {
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "{}", file.display());
    }
    let check = [
        "sh",
        "-c",
        "[ $(id -u) = 0 ] && cat $TAFFETA_SECRETS/db | grep -q value && ! cat /etc/ssl/private/* && echo > check",
    ];
    assert!(executor.run_check("r1", &check.map(str::to_owned), support::PATIENCE).await);
    assert_eq!(fs::metadata(bench.work("r1").join("check")).unwrap().uid(), 0);
}

#[tokio::test]
async fn a_profile_that_cannot_be_had_in_full_is_refused_unless_told_otherwise() {
    let bench = Bench::new();
    let strict = LinuxExecutor::new(LinuxConfig { shim: "/bin/false".into(), ..bench.config() }).unwrap();
    let error = strict.start(bench.spec("r1", &["true"])).await.unwrap_err();
    let StartError::NotIsolated(gaps) = &error else { panic!("{error:?}") };
    assert!(gaps.iter().any(|gap| gap.starts_with("pid-namespace: it could not be tried")), "{gaps:?}");
    let own =
        |gap: &&String| ["no-new-privs", "seccomp", "landlock", "core-dumps"].iter().any(|own| gap.starts_with(own));
    assert!(!gaps.iter().any(|gap| own(&gap) && gap.contains("tried")), "a process does that to itself: {gaps:?}");
    assert!(
        strict.not_isolated().iter().any(|gap| gap.starts_with("mount-namespace and so ")),
        "{:?}",
        strict.not_isolated()
    );
    let none = Isolation { profile: Some(Profile::None), without: BTreeSet::new() };
    let error = strict.start(TaskSpec { isolation: none, ..bench.spec("r1", &["true"]) }).await.unwrap_err();
    assert!(!error.to_string().contains("namespace"), "who asks for nothing misses nothing: {error}");
}

#[tokio::test]
async fn what_turns_out_not_to_be_in_force_is_told_also_to_the_next_agent() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let isolation = without(&[Measure::MountNamespace]);
    let spec = TaskSpec { isolation, ..bench.spec("r1", &["sleep", "1000"]) };
    let told = executor.start(spec.clone()).await.unwrap().not_isolated;
    assert!(told.iter().any(|gap| gap.starts_with("hidden-folders: held by landlock alone")), "{told:?}");
    assert_eq!(bench.executor().start(spec).await.unwrap().not_isolated, told);
    let whole = executor.start(bench.spec("r2", &["sleep", "1000"])).await.unwrap();
    assert_eq!(whole.not_isolated, executor.not_isolated(), "nothing of its own");
}

#[tokio::test]
async fn shim_and_init_are_small_together() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
    let init = bench.record("r1", "state.json")["init"]["pid"].as_u64().unwrap();
    let own = |pid: u64| {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let size = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        // Each gets its share of what both have: the sum counts it once.
        maps.lines().filter(|line| line.starts_with("Pss_Anon:")).filter_map(size).sum::<u64>()
    };
    let together = own(init) + own(bench.shim_pid("r1").into());
    assert!(together > 0 && together <= 1024, "{together} KiB of their own");
}

#[tokio::test]
async fn nothing_is_mounted_on_the_machine_and_nothing_is_left() {
    let bench = Bench::new();
    let Some(executor) = executor(&bench) else { return };
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    executor.start(bench.spec("r1", &["sleep", "1000"])).await.unwrap();
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), before);
    let init = u32::try_from(bench.record("r1", "state.json")["init"]["pid"].as_u64().unwrap()).unwrap();
    executor.kill("r1").await.unwrap();
    until("init has gone", || !lives(init)).await;
    executor.forget("r1").await.unwrap();
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 0);
}

/// The same tests for a user who is not root, in a process of theirs.
#[test]
fn without_root_a_user_namespace_does_it() {
    const TESTS: [&str; 8] = [
        "strict_takes_a_node_that_is_root",
        "what_configures_the_node_is_empty_to_tasks_wherever_it_lies",
        "a_task_reaches_nothing_of_another_nor_of_the_node_nor_of_its_shim",
        "a_task_sees_and_signals_its_own_processes_alone",
        "a_task_has_the_devices_that_any_program_may_use",
        "exit_codes_and_signals_are_told_as_they_were",
        "what_a_task_leaves_behind_is_reaped_and_dies_with_it",
        "a_command_beside_the_task_is_inside_with_it",
    ];
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: all tests of this file run without root already");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // The program that runs the tests may lie where only root may look.
    let place = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let tests = place(&std::env::current_exe().unwrap(), "tests");
    let shim = place(Path::new(env!("CARGO_BIN_EXE_taffeta-shim-test")), "shim");
    let mut command = Command::new(tests);
    command
        .args(["--exact", "--nocapture", "--test-threads", "2"])
        .args(TESTS)
        .env("TMPDIR", folder.path())
        .env("TAFFETA_TEST_SHIM", shim);
    command.uid(65_534).gid(65_534).current_dir("/").stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.status.signal().is_none(), "{said}");
    assert!(said.contains(&format!("{} passed", TESTS.len())), "{said}");
    eprintln!("{}", said.lines().filter(|line| line.contains("SKIPPED")).collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn what_a_power_cut_tore_never_ran_and_what_ended_before_is_known() {
    let bench = Bench::new();
    let executor = bench.executor();
    for run_id in ["state", "launch", "spec", "ended", "draft", "half"] {
        executor.start(bench.spec(run_id, &["sh", "-c", "exit 5"])).await.unwrap();
        assert_eq!(executor.wait(run_id).await, Exit::Code(5));
    }
    let other_boot = |run_id: &str| {
        let folder = bench.root.join(run_id);
        // What is synced under this name is known, and its own name is not synced.
        fs::rename(folder.join("exit.json"), folder.join(".exit.json.new")).unwrap();
        let mut state = bench.record(run_id, "state.json");
        state["boot_id"] = "another".into();
        fs::write(folder.join("state.json"), state.to_string()).unwrap();
    };
    ["state", "launch", "spec", "draft", "half"].into_iter().for_each(other_boot);
    ["state", "launch", "spec"].iter().for_each(|run_id| {
        fs::remove_file(bench.root.join(run_id).join(".exit.json.new")).unwrap();
    });
    let tear = |path: &str, length: usize| {
        let path = bench.root.join(path);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..length]).unwrap();
    };
    tear("state/state.json", 0);
    tear("launch/state.json", 20);
    tear("launch/launch.json", 7);
    fs::write(bench.root.join("spec/spec.json"), vec![0; 300]).unwrap(); // blocks that were never written
    tear("half/.exit.json.new", 20);
    tear("ended/spec.json", 0);
    tear("ended/state.json", 3);
    let found = bench.executor().recover().await;
    let [draft, ended, half] = found.as_slice() else { panic!("{found:?}") };
    for found in [draft, ended] {
        assert_eq!(found.spec.task, "test/task.1");
        assert!(matches!(found.state, FoundState::Exited { exit: Exit::Code(5), .. }), "{found:?}");
    }
    assert_eq!([&*draft.run_id, &*ended.run_id, &*half.run_id], ["draft", "ended", "half"]);
    assert_eq!(half.state, FoundState::Lost);
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 3, "what never ran is gone");
}
