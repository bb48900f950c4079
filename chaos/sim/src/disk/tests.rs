use super::*;
use crate::{random::stream, time::ProcessTime, trace::Trace, wire::Wire};
use rand::RngExt;
use std::time::Duration;
use taffeta_model::NodeId;
use taffeta_store::{Disk as _, Loaded, Op, SegmentDisk, Sizes, is_full};

fn disk() -> Arc<Disk> {
    Disk::new(Run::new(Trace::new(false)), 1)
}

fn files(disk: &Arc<Disk>) -> LogFiles {
    LogFiles(disk.open())
}

#[test]
fn a_killed_process_leaves_what_it_wrote() {
    let disk = disk();
    files(&disk).create("a").unwrap().write_at(0, b"synced or not").unwrap();
    disk.close();
    assert_eq!(files(&disk).read("a").unwrap(), b"synced or not");
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_tears_the_rest() {
    let (mut lost, mut torn, mut holed) = (0, 0, 0);
    for seed in 0..50 {
        let disk = disk();
        let files = files(&disk);
        let mut file = files.create("a").unwrap();
        file.write_at(0, &[1; 4096]).unwrap();
        file.sync().unwrap();
        files.sync_folder().unwrap();
        file.write_at(0, &[2; 4096]).unwrap();
        disk.cut_power(&mut stream(seed, "power"));
        let left = LogFiles(disk.open()).read("a").unwrap();
        assert_eq!(left.len(), 4096);
        for sector in left.chunks(SECTOR) {
            assert!(sector == [1; SECTOR] || sector == [2; SECTOR], "sectors are whole");
        }
        let new = left.chunks(SECTOR).filter(|sector| sector[0] == 2).count();
        lost += usize::from(new == 0);
        torn += usize::from(new > 0 && new < 8);
        holed += usize::from(!left.chunks(SECTOR).is_sorted_by(|one, next| one[0] >= next[0]));
    }
    assert!(lost > 0 && torn > 0 && holed > 0, "{lost} lost, {torn} torn, {holed} with a hole");
}

#[test]
fn a_power_cut_keeps_a_beginning_of_what_happened_to_the_names_since_the_folder_was_synced() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = disk();
        let files = files(&disk);
        let mut old = files.create("old").unwrap();
        old.write_at(0, b"old").unwrap();
        old.sync().unwrap();
        files.sync_folder().unwrap();
        let mut new = files.create("new.new").unwrap();
        new.write_at(0, b"new").unwrap();
        new.sync().unwrap();
        files.rename("new.new", "new").unwrap();
        files.remove("old").unwrap();
        disk.cut_power(&mut stream(seed, "power"));
        let files = LogFiles(disk.open());
        let names = files.list().unwrap();
        for name in &names {
            let expected = if name == "old" { b"old" } else { b"new" };
            assert_eq!(files.read(name).unwrap(), expected, "what was synced is there under whatever name");
        }
        seen.insert(names.join(" "));
    }
    let possible = ["old", "new.new old", "new old", "new"].map(String::from);
    assert_eq!(seen, possible.into());
}

const NODE: NodeId = NodeId(7);
const SIZES: Sizes = Sizes { segment: 8 << 10, ahead: 2 << 10 };

fn log(disk: &Arc<Disk>) -> SegmentDisk {
    SegmentDisk::open(Arc::new(files(disk)), NODE, SIZES).unwrap()
}

fn socket(run: &Arc<Run>) -> Arc<Socket> {
    let wire = Wire::new(Arc::clone(run), stream(1, "wire"), (Duration::ZERO, Duration::ZERO));
    wire.bind("10.0.0.1:1".parse().unwrap(), Arc::new(ProcessTime::new(Arc::clone(run))))
}

/// A commit of a node's life: entries, at times with a snapshot and a purge, or a log that begins anew.
fn commit(n: u64, rng: &mut SmallRng) -> Vec<Op> {
    let entry = vec![u8::try_from(n % 251).unwrap(); rng.random_range(0..3_000)];
    let mut ops = vec![Op::Append(vec![(n, entry.clone()), (n + 1, entry.clone())]), Op::Vote(vec![3; 9])];
    match rng.random_range(0..8) {
        0 => ops.extend([Op::Snapshot(vec![1; 20], entry), Op::Purge(n, vec![2; 9])]),
        1 => ops.insert(0, Op::Truncate(n.saturating_sub(3))),
        2 => {
            ops = vec![
                Op::Truncate(0),
                Op::Snapshot(vec![4; 20], entry),
                Op::Purge(n + 1, vec![5; 9]),
                Op::Vote(vec![6; 9]),
            ];
        }
        _ => {}
    }
    ops
}

/// What the log itself promises, whatever the power cut does: what was acknowledged is there, and the commit that the power
/// went in is there in whole or not at all.
#[tokio::test]
async fn the_power_goes_in_the_middle_of_a_commit_and_costs_nothing_that_was_acknowledged() {
    let (mut done, mut undone) = (0, 0);
    for seed in 0..400 {
        let run = Run::new(Trace::new(false));
        let disk = Disk::new(Arc::clone(&run), 1);
        let mut rng = stream(seed, "life");
        let (mut n, mut acknowledged) = (0, Loaded::default());
        drop(log(&disk));
        for life in 0..6 {
            let mut segments = log(&disk);
            assert_eq!(segments.load().unwrap(), acknowledged, "seed {seed}, life {life}");
            disk.light_fuse(rng.random_range(1..40), socket(&run));
            let pending = loop {
                let ops = commit(n, &mut rng);
                n += 2;
                if segments.commit(&ops, Some(n.to_le_bytes().to_vec())).is_err() {
                    break ops;
                }
                acknowledged = apply(acknowledged, &ops, n);
            };
            drop(segments);
            disk.cut_power(&mut rng);
            let found = log(&disk).load().unwrap_or_else(|e| panic!("seed {seed}, life {life}: {e}"));
            let with = apply(acknowledged.clone(), &pending, n);
            assert!(found == acknowledged || found == with, "seed {seed}, life {life}");
            if found == with {
                done += 1;
            } else {
                undone += 1;
            }
            acknowledged = found;
        }
    }
    assert!(done > 100 && undone > 100, "{done} were there, {undone} were not");
}

fn apply(mut to: Loaded, ops: &[Op], n: u64) -> Loaded {
    for op in ops.iter().cloned() {
        match op {
            Op::Append(entries) => to.log.extend(entries),
            Op::Vote(vote) => to.vote = Some(vote),
            Op::Truncate(from) => drop(to.log.split_off(&from)),
            Op::Purge(upto, id) => {
                to.log = to.log.split_off(&(upto + 1));
                to.purged = Some(id);
            }
            Op::Snapshot(about, contents) => to.snapshot = Some((about, contents)),
            Op::Clear => to = Loaded::default(),
        }
    }
    to.committed = Some(n.to_le_bytes().to_vec());
    to
}

#[test]
fn a_full_disk_costs_nothing_and_the_same_commit_succeeds_when_there_is_room() {
    for seed in 0..50 {
        let disk = disk();
        let mut rng = stream(seed, "life");
        let (mut n, mut acknowledged) = (0, Loaded::default());
        let mut segments = log(&disk);
        segments.load().unwrap();
        for _ in 0..40 {
            let ops = commit(n, &mut rng);
            n += 2;
            let committed = Some(n.to_le_bytes().to_vec());
            if rng.random_bool(0.5) {
                disk.set_full(true);
                for _ in 0..3 {
                    assert!(is_full(&segments.commit(&ops, committed.clone()).unwrap_err()));
                    assert_eq!(log(&disk).load().unwrap(), acknowledged, "seed {seed}");
                }
                disk.set_full(false);
            }
            segments.commit(&ops, committed).unwrap();
            acknowledged = apply(acknowledged, &ops, n);
            assert_eq!(log(&disk).load().unwrap(), acknowledged, "seed {seed}");
        }
    }
}

#[test]
fn a_process_that_is_no_more_reaches_nothing() {
    let disk = disk();
    let (files, folder) = (files(&disk), disk.open());
    let mut file = files.create("a").unwrap();
    disk.close();
    assert!(file.write_at(0, b"late").is_err() && file.sync().is_err() && file.set_len(0).is_err());
    assert!(
        files.list().is_err() && files.read("a").is_err() && files.create("b").is_err() && files.remove("a").is_err()
    );
    assert!(files.rename("a", "b").is_err() && files.sync_folder().is_err());
    assert!(folder.write("late", b"").is_err() && folder.read("late").is_err());
    assert!(!disk.has_file("late"));
    assert_eq!(LogFiles(disk.open()).read("a").unwrap(), b"");
}

#[test]
fn a_full_disk_takes_a_part_at_most_until_there_is_room() {
    let disk = disk();
    let (files, folder) = (files(&disk), disk.open());
    let mut file = files.create("a").unwrap();
    disk.set_full(true);
    let full = |e: io::Error| e.kind() == io::ErrorKind::StorageFull;
    assert!(file.write_at(0, &[1; 2048]).is_err_and(full) && files.create("b").is_err_and(full));
    assert_eq!(files.read("a").unwrap(), [1; 1024]);
    assert_eq!(files.room().unwrap(), 0);
    assert!(folder.write("x", b"x").is_err_and(full));
    file.set_len(0).unwrap(); // which gives room
    disk.set_full(false);
    file.write_at(0, b"x").unwrap();
    folder.write("x", b"x").unwrap();
    assert_eq!(folder.read("x").unwrap(), Some(b"x".to_vec()));
}
