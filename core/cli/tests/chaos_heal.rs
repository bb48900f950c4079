//! That nodes which are hurt on purpose heal also where something is in the way: full disks, two machines on one kernel,
//! an agent that was not there when its fault ended. As real processes.

mod hurt;
mod support;

use hurt::{Bed, SOON, keepers, signal, state_of};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};
use taffeta_chaos_plan::{DnsInstead, Fault};
use taffeta_harness::within;
use taffeta_node::api::ErrorCode;

/// Takes what room is left on the disk of a folder, to the last byte.
fn take_the_rest(folder: &Path) {
    let mut file = File::create(folder.join("rest")).expect("an empty file");
    within(SOON, "no byte can be written", || {
        for size in [4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        let written = fs::write(folder.join("a few bytes"), "null");
        if written.is_err() { Ok(()) } else { Err("there is room".into()) }
    });
}

/// As a reboot is to a node: no process of it is left, and the kernel names another boot.
fn reboot(bed: &mut Bed, machine: usize) {
    bed.cluster.machines[machine].kill_agent();
    within(SOON, "no keeper is left", || {
        let left = keepers(bed.data(machine));
        left.iter().for_each(|pid| signal(*pid, Signal::KILL));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let records = fs::read_dir(bed.data(machine).join("chaos")).expect("a journal").flatten().map(|entry| entry.path());
    for path in records.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = fs::read_to_string(&path).expect("a record");
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if record["boot"].is_string() {
            record["boot"] = "of another time".into();
            fs::write(&path, record.to_string()).expect("there is room for it");
        }
    }
}

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

#[test]
fn a_disk_without_a_byte_left_is_given_back_by_a_stop() {
    let Some(bed) = Bed::on_disk(&["--chaos"]) else { return };
    let fault = bed.begin(0, Fault::DiskFull, 600_000);
    assert_eq!(fault.backend, "filesystem");
    take_the_rest(bed.data(0));
    let stopped = bed.runtime.block_on(bed.client(0).chaos_stop("enough")).expect("it answers");
    assert_eq!((stopped.stopped, stopped.not_undone), (vec!["n1".to_owned()], vec![]));
    bed.undone(0, &fault, SOON);
    assert!(!bed.data(0).join("chaos/filler").exists(), "and there is room");
}

#[test]
fn a_disk_without_a_byte_left_does_not_keep_a_node_from_coming_up_after_a_reboot() {
    let Some(mut bed) = Bed::on_disk(&["--chaos"]) else { return };
    let fault = bed.begin(0, Fault::DiskFull, 600_000);
    assert_eq!(fault.backend, "filesystem");
    reboot(&mut bed, 0);
    take_the_rest(bed.data(0));
    bed.cluster.machines[0].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    bed.undone(0, &fault, SOON);
    assert!(!bed.data(0).join("chaos/filler").exists(), "and there is room");
}

#[test]
fn an_empty_token_opens_a_node_to_nobody() {
    let mut bed = Bed::start(&[&["--chaos"]]);
    let old = bed.token(0);
    bed.cluster.machines[0].kill_agent();
    let path = bed.data(0).join("chaos.token");
    fs::write(&path, "").expect("a file");
    bed.cluster.machines[0].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    let wanted = bed.request(0, Fault::Dns { fraction: 1.0, instead: DnsInstead::Drop }, Duration::from_secs(1));
    for token in ["", " "] {
        let refused = bed.runtime.block_on(bed.client(0).inject(&wanted, token)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Forbidden, "{token:?}: {refused:?}");
    }
    let new = bed.token(0);
    assert!(new.trim().len() == 32 && new != old, "it has made another one: {new:?}");
    let begun = bed.runtime.block_on(bed.client(0).inject(&wanted, &new)).expect("which it takes");
    bed.undone(0, &begun, SOON);
}
