//! What a task sees, and what it does not, with real processes that try. Each escape is shown to work once the measure that
//! prevents it is loosened.
//!
//! Here is what the themes share, and all that is run once more for a user who is not root.

mod mounts;
mod profiles;
mod runs;
#[path = "../support/mod.rs"]
mod support;
mod view;

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use support::{Bench, copy_program, guest, until};
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::{Executor, Stream, TaskSpec};
use taffeta_model::{Exit, Isolation, Measure, Profile};

/// An agent whose data folder lies around its tasks; `None`, and the reason told, where tasks cannot be set apart.
fn executor(bench: &Bench) -> Option<LinuxExecutor> {
    let hidden = vec![data(bench)];
    let executor = LinuxExecutor::new(LinuxConfig { best_effort: true, hidden, ..bench.config() }).unwrap();
    let mut lacking = executor.permitted().measures.lacking.clone();
    lacking.remove(&Measure::UserNamespace); // not a part of `standard`
    if guest::is_guest() {
        lacking.remove(&Measure::Landlock); // its kernel has none; what rests on that alone is not run there
    }
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

/// But for what landlock alone holds, which the guest's kernel does not have.
#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    guest::run_tests(&["the_same_holds", "without_root", "what_turns_out_not_to_be_in_force"]);
}

/// The same tests for a user who is not root, in a process of theirs.
#[test]
fn without_root_a_user_namespace_does_it() {
    const TESTS: [&str; 8] = [
        "profiles::strict_takes_a_node_that_is_root",
        "view::what_configures_the_node_is_empty_to_tasks_wherever_it_lies",
        "view::a_task_reaches_nothing_of_another_nor_of_the_node_nor_of_its_shim",
        "view::a_task_sees_and_signals_its_own_processes_alone",
        "view::a_task_has_the_devices_that_any_program_may_use",
        "runs::exit_codes_and_signals_are_told_as_they_were",
        "runs::what_a_task_leaves_behind_is_reaped_and_dies_with_it",
        "runs::a_command_beside_the_task_is_inside_with_it",
    ];
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: all tests of this program run without root already");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // The program that runs the tests may lie where only root may look.
    let place = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        copy_program(from, &to);
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
