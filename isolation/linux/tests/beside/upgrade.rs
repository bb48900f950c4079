//! A run that an agent of one program has begun is taken up by an agent of another, at the same place on the disk.

use super::{
    protocol::agent_of,
    support::{Bench, copy_program, lives, until},
};
use std::{fs, path::Path, process::Command};

#[tokio::test]
async fn a_run_is_taken_up_by_the_program_that_has_replaced_its_own() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let (program, next) = (folder.path().join("taffeta"), folder.path().join("next"));
    for copy in [&program, &next] {
        copy_program(Path::new(env!("CARGO_BIN_EXE_taffeta-shim-test")), copy);
    }
    let mut spec =
        bench.spec("r1", &["sh", "-c", "trap 'echo told >> told' USR1; : > ready; while :; do sleep 0.02; done"]);
    spec.env.insert("WORD".into(), "of-the-task".into());
    let mut agent = agent_of(&program, &bench, &spec);
    until("it runs", || bench.work("r1").join("ready").exists()).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    fs::rename(&next, &program).unwrap(); // as an upgrade does
    let shim = bench.shim_pid("r1");
    let own = fs::read_link(format!("/proc/{shim}/exe")).unwrap();
    assert!(own.display().to_string().ends_with(" (deleted)"), "the shim is of a program that is gone: {own:?}");

    // It has to be a process of the other program: what goes into the task's namespaces is the agent's own program.
    let mut command = Command::new(&program);
    command.arg("adopt").arg(&bench.root).arg(&bench.node_id).args(["r1", "[ \"$WORD\" = of-the-task ]"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "running\ncheck true\ncheck false\nsignalled true\nkilled by signal 9\n", "{errors}");
    until("the shim has gone after its task", || !lives(shim)).await;
}
