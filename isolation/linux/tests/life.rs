//! The life of a run, with real processes: what is kept, what is found again, what is killed.

mod support;

use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{Bench, guest, kill_9, lives, number, process, processes, until};
use taffeta_isolation_linux::free_port;
use taffeta_isolation_plan::{ActError, Executor, FoundState, StartError, Stream, TaskSpec};
use taffeta_model::{Exit, ShippedFile};

/// A task that says that it was started and ends with 7 when told to.
const UNTIL_GO: [&str; 3] = ["sh", "-c", "echo $$ >> started; while [ ! -e go ]; do sleep 0.02; done; exit 7"];

const FOR_EVER: [&str; 3] = ["sh", "-c", "echo $$ > main; while :; do sleep 1; done"];

#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    guest::run_tests(&["the_same_holds"]);
}

/// An agent in a process of its own, to be killed.
fn agent(bench: &Bench, spec: &TaskSpec) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taffeta-shim-test"));
    command.arg("agent").arg(&bench.root).arg(&bench.node_id);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(spec).unwrap()).unwrap();
    child
}

#[tokio::test]
async fn a_task_has_its_files_environment_and_logs_and_its_exit_is_kept() {
    let bench = Bench::new();
    let executor = bench.executor();
    let script = b"#!/bin/sh\necho $GREETING $HOME $# $1; echo oops >&2; umask; exit 3\n".to_vec();
    let files = [("run".to_owned(), ShippedFile { body: script, executable: true })].into();
    let spec = TaskSpec { files, ..bench.spec("r1", &["./run", "a b"]) };
    let work = spec.work();
    executor.start(spec).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(3));
    let out = fs::read_to_string(executor.log_path("r1", Stream::Stdout)).unwrap();
    assert_eq!(out, format!("hello {} 1 a b\n0022\n", work.display()));
    assert_eq!(fs::read_to_string(executor.log_path("r1", Stream::Stderr)).unwrap(), "oops\n");
    assert_eq!(executor.wait("r1").await, Exit::Code(3), "asking twice gives the same answer");
}

#[tokio::test]
async fn nothing_of_the_agents_environment_files_or_signals_reaches_the_task() {
    let bench = Bench::new();
    let executor = bench.executor();
    let show = "env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    executor.start(bench.spec("r1", &["bash", "-c", show])).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(0));
    let out = fs::read_to_string(executor.log_path("r1", Stream::Stdout)).unwrap();
    // bash itself adds PWD, SHLVL and _; ls opens 3.
    assert!(out.starts_with("GREETING HOME PATH PWD SHLVL TAFFETA_TASK_DIR _ 0 1 2 3 "), "{out}");
    assert_eq!(out.matches("0000000000000000").count(), 2, "{out}");
}

#[tokio::test]
async fn a_signal_reaches_the_task_and_a_death_by_signal_is_told_as_such() {
    let bench = Bench::new();
    let executor = bench.executor();
    let trap = "trap 'exit 42' TERM; : > ready; while :; do sleep 0.02; done";
    executor.start(bench.spec("trap", &["sh", "-c", trap])).await.unwrap();
    until("the trap is set", || bench.work("trap").join("ready").exists()).await;
    executor.signal("trap", Signal::TERM.as_raw()).await.unwrap();
    assert_eq!(executor.wait("trap").await, Exit::Code(42));
    assert_eq!(executor.signal("trap", 15).await, Err(ActError::Ended("trap".into())));

    executor.start(bench.spec("plain", &["sleep", "1000"])).await.unwrap();
    assert!(matches!(executor.signal("plain", 0).await, Err(ActError::Failed(_))));
    executor.signal("plain", Signal::USR1.as_raw()).await.unwrap();
    assert_eq!(executor.wait("plain").await, Exit::Signal(Signal::USR1.as_raw()));
}

#[tokio::test]
async fn an_exit_code_is_kept_while_no_agent_exists() {
    let bench = Bench::new();
    let mut agent = agent(&bench, &bench.spec("r1", &UNTIL_GO));
    until("the task runs", || bench.work("r1").join("started").exists()).await;
    until("it is on disk", || bench.root.join("r1/state.json").exists()).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    fs::write(bench.work("r1").join("go"), "").unwrap();
    until("the shim has kept the exit", || bench.root.join("r1/exit.json").exists()).await;
    let found = bench.executor().recover().await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].run_id.as_str(), found[0].spec.task.as_str()), ("r1", "test/task.1"));
    assert!(matches!(found[0].state, FoundState::Exited { exit: Exit::Code(7), .. }), "{found:?}");
}

#[tokio::test]
async fn a_new_agent_finds_the_same_process_and_starts_no_second_one() {
    let bench = Bench::new();
    let spec = bench.spec("r1", &UNTIL_GO);
    let mut agent = agent(&bench, &spec);
    let mut said = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut said).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();

    let executor = bench.executor();
    let found = executor.recover().await;
    let [found] = found.as_slice() else { panic!("{found:?}") };
    let FoundState::Running { pid, started_at } = found.state else { panic!("{found:?}") };
    assert!(lives(pid) && said.contains(&format!("pid: {pid},")), "{said}");
    let again = executor.start(spec).await.unwrap();
    assert_eq!((again.pid, again.started_at), (pid, started_at));
    fs::write(bench.work("r1").join("go"), "").unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Code(7));
    assert_eq!(fs::read_to_string(bench.work("r1").join("started")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn starting_a_run_at_once_from_many_places_makes_one_process() {
    let bench = Bench::new();
    let executor = bench.executor();
    let starts = (0..8).map(|_| executor.start(bench.spec("r1", &UNTIL_GO)));
    let mut pids = Vec::new();
    for start in futures_of(starts).await {
        pids.push(start.unwrap().pid);
    }
    pids.dedup();
    assert_eq!(pids.len(), 1);
    until("it has said so", || number(&bench.work("r1").join("started")).is_some()).await;
    executor.kill("r1").await.unwrap();
    assert_eq!(fs::read_to_string(bench.work("r1").join("started")).unwrap().lines().count(), 1);
    let again = executor.start(bench.spec("r1", &UNTIL_GO)).await;
    assert!(matches!(again, Err(StartError::AlreadyRan { exit: Exit::Signal(9), .. })), "{again:?}");
}

/// Polls all at once.
async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in &mut futures {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn a_killed_shim_takes_the_task_along_and_the_run_reads_lost() {
    let bench = Bench::new();
    let executor = bench.executor();
    let daemon = "(setsid sh -c 'echo $$ > daemon; sleep 1000' &) ; echo $$ > main; sleep 1000";
    executor.start(bench.spec("r1", &["sh", "-c", daemon])).await.unwrap();
    let pid_of = |name: &str| process(&bench.work("r1").join(name));
    until("both run", || pid_of("main").is_some() && pid_of("daemon").is_some()).await;
    let (main, daemon) = (pid_of("main").unwrap(), pid_of("daemon").unwrap());
    assert!(lives(main) && lives(daemon));
    kill_9(bench.shim_pid("r1"));
    until("the main process died with it, without any agent", || !lives(main)).await;
    assert_eq!(executor.wait("r1").await, Exit::Lost);
    assert!(!lives(main) && !lives(daemon), "nothing of a lost task may run on");
    assert!(matches!(bench.executor().recover().await.as_slice(), [found] if found.state == FoundState::Lost));
}

#[tokio::test]
async fn a_shim_that_hangs_cannot_prevent_a_kill() {
    let bench = Bench::new();
    let executor = bench.executor();
    let pid = executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap().pid;
    let shim = rustix::process::Pid::from_raw(i32::try_from(bench.shim_pid("r1")).unwrap()).unwrap();
    rustix::process::kill_process(shim, Signal::STOP).unwrap();
    executor.kill("r1").await.unwrap();
    assert!(!lives(pid));
    assert_eq!(executor.wait("r1").await, Exit::Lost);
}

#[tokio::test]
async fn daemons_that_forked_twice_are_killed_with_the_task() {
    let bench = Bench::new();
    let executor = bench.executor();
    let daemons = "for i in 1 2 3; do (setsid sh -c \"echo \\$\\$ > d$i; sleep 1000\" &); done; echo $$ > main; ";
    for (run_id, end) in [("ends", "while [ ! -e go ]; do sleep 0.02; done"), ("killed", "sleep 1000")] {
        executor.start(bench.spec(run_id, &["sh", "-c", &format!("{daemons}{end}")])).await.unwrap();
        let pids = || ["d1", "d2", "d3", "main"].map(|name| process(&bench.work(run_id).join(name)));
        until("all run", || pids().iter().all(Option::is_some)).await;
        let pids = pids().map(Option::unwrap);
        if run_id == "ends" {
            fs::write(bench.work(run_id).join("go"), "").unwrap();
            assert_eq!(executor.wait(run_id).await, Exit::Code(0));
        } else {
            executor.kill(run_id).await.unwrap();
            assert_eq!(executor.wait(run_id).await, Exit::Signal(9));
        }
        assert_eq!(pids.map(lives), [false; 4], "{run_id}");
    }
}

#[tokio::test]
async fn a_missing_program_gives_its_reason_and_leaves_nothing() {
    let bench = Bench::new();
    let executor = bench.executor();
    let error = executor.start(bench.spec("r1", &["./absent"])).await.unwrap_err();
    let StartError::NotStarted(why) = &error else { panic!("{error:?}") };
    assert!(why.contains("./absent") && why.contains("No such file"), "{why}");
    assert!(matches!(error.exit(), Exit::NotStarted(_)));
    assert!(!bench.root.join("r1").exists());
    assert_eq!(bench.group(&executor, "memory", "r1").filter(|group| group.exists()), None);
    let file = ShippedFile { body: b"data".into(), executable: false };
    let spec = TaskSpec { files: [("data".into(), file)].into(), ..bench.spec("r1", &["./data"]) };
    let error = executor.start(spec).await.unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[tokio::test]
async fn forget_leaves_no_folder_and_no_group_and_refuses_what_runs() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    assert_eq!(executor.forget("r1").await, Err(ActError::Running("r1".into())));
    executor.kill("r1").await.unwrap();
    executor.forget("r1").await.unwrap();
    executor.forget("r1").await.unwrap();
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 0);
    for controller in ["cpu", "cpuacct", "memory", "pids", "freezer"] {
        assert_eq!(bench.group(&executor, controller, "r1").filter(|group| group.exists()), None);
    }
    assert_eq!(executor.kill("r1").await, Err(ActError::Unknown("r1".into())));
    assert_eq!(executor.wait("../r1").await, Exit::Lost);
}

#[tokio::test]
async fn a_deep_folder_is_no_obstacle() {
    let temporary = tempfile::tempdir().unwrap();
    let bench = Bench::at(temporary.path().join("d".repeat(90)).join("e".repeat(90)).join("tasks"));
    let executor = bench.executor();
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    executor.signal("r1", Signal::KILL.as_raw()).await.unwrap();
    assert_eq!(executor.wait("r1").await, Exit::Signal(9));
}

/// Kills the agent as soon as the given file of the run exists. Whatever had been reached, the next agent either finds
/// one process or none and no trace.
#[tokio::test]
async fn an_agent_killed_at_any_point_of_a_start_leaves_one_process_or_nothing() {
    for file in ["", "spec.json", "work", "launch.json", "lock", "ctl.sock", "stdout.log", "state.json"] {
        let bench = Bench::new();
        let spec = bench.spec("r1", &UNTIL_GO);
        let mut agent = agent(&bench, &spec);
        let path = bench.root.join("r1").join(file);
        until("the agent came so far", || path.exists()).await;
        agent.kill().unwrap();
        agent.wait().unwrap();
        let executor = bench.executor();
        let found = executor.recover().await;
        match found.as_slice() {
            [] => {
                assert!(!spec.folder.exists(), "killed at `{file}`: something is left");
                executor.start(spec).await.unwrap();
            }
            [found] => assert!(matches!(found.state, FoundState::Running { .. }), "killed at `{file}`: {found:?}"),
            more => panic!("{more:?}"),
        }
        fs::write(bench.work("r1").join("go"), "").unwrap();
        assert_eq!(executor.wait("r1").await, Exit::Code(7), "killed at `{file}`");
        assert_eq!(fs::read_to_string(bench.work("r1").join("started")).unwrap().lines().count(), 1);
    }
}

#[tokio::test]
async fn a_folder_without_a_spec_is_cleaned_up() {
    let bench = Bench::new();
    let executor = bench.executor();
    fs::create_dir(bench.root.join("r1")).unwrap();
    fs::create_dir(bench.root.join("r2")).unwrap();
    fs::write(bench.root.join("r2/spec.json"), "{\"task\":").unwrap();
    assert_eq!(executor.recover().await, vec![]);
    assert_eq!(fs::read_dir(&bench.root).unwrap().count(), 0);
}

#[tokio::test]
async fn a_check_runs_beside_the_task_and_a_slow_one_is_killed() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    let check = async |script: &str, timeout| {
        let run = ["sh", "-c", script].map(str::to_owned);
        executor.run_check("r1", &run, timeout).await
    };
    assert!(check("test $GREETING = hello -a $PWD = $HOME", support::PATIENCE).await);
    assert!(!check("exit 1", support::PATIENCE).await);
    let mark = format!("2000.{}", std::process::id());
    let slow = bench.work("r1").join("slow");
    // On a busy machine it may be killed before it has begun.
    for ms in [700, 4_000, 20_000] {
        assert!(!check(&format!("echo > slow; sleep {mark}; :"), Duration::from_millis(ms)).await);
        if slow.exists() {
            break;
        }
    }
    assert!(slow.exists());
    until("nothing of the check is left", || processes(&mark) == 0).await;
    assert!(!executor.run_check("r1", &["./absent".into()], support::PATIENCE).await);
    assert!(!executor.run_check("unknown", &["true".into()], support::PATIENCE).await);
}

#[tokio::test]
async fn a_shim_is_small_and_no_child_of_the_agent() {
    let bench = Bench::new();
    let executor = bench.executor();
    executor.start(bench.spec("r1", &FOR_EVER)).await.unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", bench.shim_pid("r1"))).unwrap();
    assert!(!status.contains(&format!("PPid:\t{}\n", std::process::id())), "{status}");
    assert!(status.contains("Threads:\t1\n"), "{status}");
    let maps = fs::read_to_string(format!("/proc/{}/smaps_rollup", bench.shim_pid("r1"))).unwrap();
    let size = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    // Not Private_Dirty: that counts pages of a freshly linked program that are merely not on disk yet.
    let own: u64 = maps.lines().filter(|line| line.starts_with("Anonymous:")).filter_map(size).sum();
    assert!(own > 0 && own <= 1024, "{own} KiB of its own");
}

#[test]
fn a_port_in_use_is_passed_over() {
    let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tcp = TcpListener::bind((addr, 0)).unwrap();
    let udp = UdpSocket::bind((addr, 0)).unwrap();
    let spare = TcpListener::bind((addr, 0)).unwrap();
    let taken = [0, tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
    let free = spare.local_addr().unwrap().port();
    drop(spare);
    assert_eq!(free_port(taken.into_iter(), addr), None);
    assert_eq!(free_port(taken.into_iter().chain([free]), addr), Some(free));
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    assert_eq!(free_port(taken.into_iter(), everywhere), None, "a listener on one address counts for all");
}
