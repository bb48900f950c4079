//! What is around a task, with real processes: its outputs, commands beside it, its files, and the protocol of its shim.

mod commands;
mod files;
mod logs;
mod protocol;
mod reused;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;

use support::guest;

#[test]
fn the_same_holds_in_a_guest_with_cgroup_v2() {
    guest::run_tests(&["the_same_holds"]);
}
