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
    time::{Duration, Instant},
};
use support::nft_cut;
use taffeta_chaos_plan::{DnsInstead, Fault};
use taffeta_harness::within;
use taffeta_node::api::{ErrorCode, FaultState};

/// Takes what room is left on the disk of a folder, to the last byte.
fn take_the_rest(folder: &Path) {
    let mut file = File::create(folder.join("rest")).expect("an empty file");
    let mut tried = 0;
    within(SOON, "no byte can be written", || {
        for size in [4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        let _ = file.sync_all(); // what was set aside for it and is not needed is free then
        tried += 1;
        let written = fs::write(folder.join(format!("a few bytes {tried}")), "null");
        if written.is_err() { Ok(()) } else { Err("there is room".into()) }
    });
}

/// The events of a machine of this kind and about this.
fn events(bed: &Bed, machine: usize, kind: &str, about: &str) -> Result<Vec<String>, String> {
    let events = bed.runtime.block_on(bed.client(machine).recent_events()).map_err(|e| e.to_string())?;
    let found = events.into_iter().filter(|event| event.kind == kind && event.message.contains(about));
    Ok(found.map(|event| format!("{}: {}", event.subject, event.message)).collect())
}

/// Waits until a machine has told this once.
fn tells(bed: &Bed, machine: usize, kind: &str, about: &str) {
    within(SOON, &format!("machine {machine} tells {kind} of {about}"), || {
        let found = events(bed, machine, kind, about)?;
        if found.len() == 1 { Ok(()) } else { Err(format!("{found:?}")) }
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

#[test]
fn each_fault_and_each_block_is_an_event_on_every_node() {
    let bed = Bed::three();
    let fault = bed.begin(1, Fault::Dns { fraction: 1.0, instead: DnsInstead::Drop }, 2_000);
    for machine in 0..3 {
        tells(&bed, machine, "chaos.begun", &fault.id);
    }
    bed.undone(0, &fault, SOON);
    for machine in 0..3 {
        tells(&bed, machine, "chaos.undone", &fault.id);
        let told = events(&bed, machine, "chaos.undone", &fault.id).expect("it answers");
        assert!(told[0].starts_with("n2: "), "{told:?}");
    }
    bed.runtime.block_on(bed.client(2).chaos_stop("enough of it")).expect("it answers");
    for machine in 0..3 {
        tells(&bed, machine, "chaos.blocked", "enough of it");
    }
    bed.runtime.block_on(bed.client(0).chaos_allow()).expect("it answers");
    for machine in 0..3 {
        tells(&bed, machine, "chaos.allowed", "again");
    }
}

#[test]
fn an_end_that_an_agent_has_slept_through_is_told_when_it_is_back() {
    let mut bed = Bed::three();
    // By its keeper, when it is back.
    let killed = bed.begin(1, Fault::KillAgent, 2_000);
    bed.undone(0, &killed, SOON);
    for machine in 0..3 {
        tells(&bed, machine, "chaos.undone", &killed.id);
    }
    // By nobody, as its keeper has ended when it is back.
    let begun = Instant::now();
    let slept = bed.begin(1, Fault::Cpu { workers: 1, percent: 10 }, 8_000);
    let agent = i32::try_from(bed.agent(1)).expect("a process id");
    signal(agent, Signal::KILL); // its keeper has started it, so that it is not the test's child
    bed.cluster.machines[1].kill_agent();
    within(SOON, "the fault is over and its keepers with it", || {
        let left = keepers(bed.data(1));
        let over = begun.elapsed() > Duration::from_secs(8) && left.is_empty();
        if over { Ok(()) } else { Err(format!("{left:?}")) }
    });
    bed.cluster.machines[1].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    for machine in 0..3 {
        tells(&bed, machine, "chaos.undone", &slept.id);
    }
    within(SOON, "nobody warns any more", || {
        let warned = (0..3).map(|machine| bed.cluster.machines[machine].try_json(&["status"]));
        let warned: Vec<_> = warned.collect::<Result<_, _>>()?;
        if warned.iter().all(|status| status["chaos"] == 0) { Ok(()) } else { Err(format!("{warned:?}")) }
    });
    // Once told, it is not told again, as soon as the node has noted that it has told it.
    within(SOON, "it has noted that both ends were told", || {
        let noted = |id: &str| bed.data(1).join(format!("chaos/{id}.heard")).exists();
        match [&killed, &slept].into_iter().find(|fault| !noted(&fault.id)) {
            None => Ok(()),
            Some(fault) => Err(format!("{fault:?} is not noted")),
        }
    });
    bed.cluster.machines[1].kill_agent();
    bed.cluster.machines[1].up_with(&[("TAFFETA_CHAOS", "1")]);
    bed.cluster.wait_ready();
    bed.all_alive();
    let told = events(&bed, 1, "chaos.undone", "");
    assert_eq!(told, Ok(vec![]));
}

#[test]
fn who_was_cut_off_when_a_fault_began_hears_of_it_later() {
    let bed = Bed::three();
    let Some(cut) = nft_cut(bed.cluster.machines[2].fabric()) else { return };
    let fault = bed.begin(1, Fault::Dns { fraction: 1.0, instead: DnsInstead::Drop }, 60_000);
    assert_eq!(events(&bed, 2, "chaos.begun", &fault.id), Ok(vec![]));
    drop(cut);
    tells(&bed, 2, "chaos.begun", &fault.id);
    within(SOON, "n3 warns of it", || {
        let status = bed.cluster.machines[2].try_json(&["status"])?;
        if status["chaos"] == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    let ended = bed.runtime.block_on(bed.client(0).undo(&fault.id)).expect("it is known");
    assert_eq!(ended.state, FaultState::Undone);
    tells(&bed, 2, "chaos.undone", &fault.id);
}

#[test]
fn a_drain_that_cannot_be_lifted_holds_up_nothing_else() {
    let mut bed = Bed::three();
    let drain = bed.begin(1, Fault::Drain, 600_000);
    let other = bed.begin(1, Fault::Dns { fraction: 1.0, instead: DnsInstead::Drop }, 600_000);
    for machine in [0, 2] {
        bed.cluster.machines[machine].kill_agent();
    }
    let stopped = bed.runtime.block_on(bed.client(1).chaos_stop("without a quorum")).expect("it answers");
    assert!(!stopped.stored, "{stopped:?}");
    let left: Vec<&str> = stopped.not_undone.iter().map(|view| view.id.as_str()).collect();
    assert_eq!(left, [&drain.id]);
    assert_eq!(bed.look(1, &other.id).expect("it answers").state, FaultState::Undone);
    for machine in [0, 2] {
        bed.cluster.machines[machine].up_with(&[("TAFFETA_CHAOS", "1")]);
    }
    bed.undone(1, &drain, SOON);
}
