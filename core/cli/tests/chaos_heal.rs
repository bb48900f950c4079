//! That nodes which are hurt on purpose heal also where something is in the way: full disks, two machines on one kernel,
//! an agent that was not there when its fault ended. As real processes.

mod hurt;
mod support;

use hurt::{Bed, SOON, state_of};
use std::{fs, os::unix::fs::MetadataExt, time::Duration};
use taffeta_chaos_plan::Fault;
use taffeta_harness::within;

#[test]
fn an_agent_is_brought_back_beside_another_whose_lock_has_the_same_number() {
    let Some(bed) = Bed::on_disks(&[&["--chaos"], &["--chaos"]]) else { return };
    let inode = |machine: usize| fs::metadata(bed.data(machine).join("lock")).expect("a lock").ino();
    assert_eq!(inode(0), inode(1), "two disks number their files alike");
    let old = bed.agent(1);
    let fault = bed.begin(1, Fault::KillAgent, 2_000);
    within(Duration::from_secs(10), "it is killed", || match state_of(old) {
        None => Ok(()),
        Some(state) => Err(state.to_string()),
    });
    within(SOON, "a new agent is there", || {
        let new = bed.agent(1);
        if new != old && state_of(new).is_some() { Ok(()) } else { Err(format!("{new}, after {old}")) }
    });
    bed.undone(0, &fault, SOON);
    bed.all_alive();
}
