//! What the example refuses. That it joins, publishes and resolves is tried beside a real node, in core/cli/tests/demo.rs;
//! having a test here is what makes `cargo test --workspace` build the program for that.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_taffeta-example-embedded")).args(args).output().expect("the example runs")
}

#[test]
fn a_flag_without_its_value_is_refused_by_name() {
    let output = run(&["--data"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--data wants a value"), "{output:?}");
}
