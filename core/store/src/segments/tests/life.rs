use super::common::*;

fn any_op() -> impl Strategy<Value = Op> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        4 => (0_u64..60, prop::collection::vec(bytes(), 1..8))
            .prop_map(|(from, entries)| Op::Append((from..).zip(entries).collect())),
        1 => bytes().prop_map(Op::Vote),
        1 => (0_u64..60).prop_map(Op::Truncate),
        1 => (0_u64..60, bytes()).prop_map(|(to, id)| Op::Purge(to, id)),
        1 => (bytes(), prop::collection::vec(any::<u8>(), 0..9_000)).prop_map(|(m, s)| Op::Snapshot(m, s)),
    ]
}

type Commit = (Vec<Op>, Option<Vec<u8>>, bool);

fn any_commits() -> impl Strategy<Value = Vec<Commit>> {
    let committed = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::vec((prop::collection::vec(any_op(), 0..5), committed, any::<bool>()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The oracle is the disk of memory. A kill may come at any moment: the commit is there in whole, or not at all.
    #[test]
    fn what_is_committed_is_there_after_a_stop_and_after_a_kill(commits in any_commits()) {
        let files = MemoryFiles::default();
        let (mut disk, mut oracle) = (opened(&files), MemoryDisk::default());
        for (ops, committed, stop) in commits {
            let before = oracle.load().unwrap();
            oracle.commit(&ops, committed.clone()).unwrap();
            let after = oracle.load().unwrap();
            files.watch();
            disk.commit(&ops, committed).unwrap();
            for image in files.watched() {
                let killed = load(&image).unwrap();
                prop_assert!(killed == before || killed == after);
            }
            prop_assert_eq!(&load(&files.image()).unwrap(), &after);
            if stop {
                drop(disk);
                disk = open(&files).unwrap();
                prop_assert_eq!(&disk.load().unwrap(), &after);
            }
        }
    }
}

#[test]
fn a_log_that_is_read_is_not_changed() {
    let (files, held) = logged();
    // Even with something to tidy up.
    let mut image = files.image();
    image.insert("snapshot.new".into(), vec![1; 10]);
    image.insert("snapshot-00000009".into(), vec![1; 10]);
    image.insert("00000099.new".into(), vec![1; 10]);
    image.insert("of somebody else".into(), vec![1; 10]);
    let last = image.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
    let file = image.get_mut(&last).unwrap();
    let torn = file.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512);
    file.resize(torn + 4_096, 0);
    file[torn + 512..torn + 900].fill(1);
    let harmed = MemoryFiles::holding(&image);
    let mut disk = open(&harmed).unwrap();
    assert_eq!(disk.load().unwrap(), held);
    assert_eq!(harmed.image(), image);
    disk.commit(&[Op::Vote(vec![1])], None).unwrap();
    let left = harmed.image();
    assert!(!left.contains_key("snapshot.new") && !left.contains_key("snapshot-00000009"));
    assert!(!left.contains_key("00000099.new") && left.contains_key("of somebody else"));
    assert_eq!(load(&left).unwrap(), Loaded { vote: Some(vec![1]), ..held });
}

#[test]
fn a_commit_is_one_write_and_one_sync_and_nothing_is_written_when_nothing_has_changed() {
    let files = MemoryFiles::default();
    let mut disk = SegmentDisk::open(Arc::new(files.clone()), NODE, Sizes::default()).unwrap();
    disk.load().unwrap();
    disk.commit(&[Op::Vote(vec![0])], Some(vec![0])).unwrap();
    let (syncs, writes) = files.worked();
    for n in 1..=100 {
        let entries = (0..20).map(|m| (n * 20 + m, vec![1; 100])).collect();
        disk.commit(&[Op::Append(entries), Op::Vote(vec![1])], Some(n.to_le_bytes().to_vec())).unwrap();
    }
    assert_eq!(files.worked(), (syncs + 100, writes + 100));
    disk.commit(&[], None).unwrap();
    disk.commit(&[], Some(100_u64.to_le_bytes().to_vec())).unwrap();
    assert_eq!(files.worked(), (syncs + 100, writes + 100));
}

#[test]
fn segments_that_are_purged_and_snapshots_that_are_replaced_are_removed() {
    let files = MemoryFiles::default();
    let mut disk = opened(&files);
    let mut most = 0;
    for n in 0..2_000_u64 {
        let mut ops = vec![Op::Append(vec![(n, vec![1; 200])])];
        if n % 20 == 19 {
            ops.extend([Op::Snapshot(vec![2; 20], vec![3; 500]), Op::Purge(n - 5, vec![4; 5])]);
        }
        disk.commit(&ops, None).unwrap();
        most = most.max(files.image().values().map(Vec::len).sum());
        assert!(files.image().keys().filter(|name| name.starts_with("snapshot")).count() <= 1);
    }
    assert!(most < 4 * 4_000 + 2_000, "{most} bytes");
    let held = load(&files.image()).unwrap();
    assert!(held.log.keys().copied().eq(1_995..2_000));
}

#[test]
fn what_is_carried_over_outlives_the_segments_it_was_written_in() {
    let files = MemoryFiles::default();
    let mut disk = opened(&files);
    disk.commit(&[Op::Vote(vec![9; 9])], Some(vec![8; 8])).unwrap();
    for n in 0..200_u64 {
        disk.commit(&[Op::Append(vec![(n, vec![1; 200])]), Op::Purge(n.saturating_sub(1), vec![7])], None).unwrap();
    }
    assert!(!files.image().contains_key("00000001.log"));
    let held = load(&files.image()).unwrap();
    assert_eq!((held.vote, held.committed, held.purged), (Some(vec![9; 9]), Some(vec![8; 8]), Some(vec![7])));
}

#[test]
fn a_frame_longer_than_a_segment_gets_one_for_itself() {
    let files = MemoryFiles::default();
    let mut disk = opened(&files);
    for n in 0..4_u64 {
        disk.commit(&[Op::Append(vec![(n, vec![1; 20_000])])], None).unwrap();
    }
    assert_eq!(load(&files.image()).unwrap().log.len(), 4);
    assert_eq!(files.image().len(), 4);
}

/// As `taffeta recover` does it.
#[test]
fn a_log_begins_anew_from_a_snapshot_in_one_commit() {
    let (files, before) = logged();
    let ops =
        [Op::Truncate(0), Op::Snapshot(vec![1; 9], vec![2; 3_000]), Op::Purge(900, vec![3; 5]), Op::Vote(vec![4; 9])];
    let mut disk = opened(&files);
    files.watch();
    disk.commit(&ops, Some(vec![5; 5])).unwrap();
    let after = Loaded {
        vote: Some(vec![4; 9]),
        committed: Some(vec![5; 5]),
        purged: Some(vec![3; 5]),
        log: [].into(),
        snapshot: Some((vec![1; 9], vec![2; 3_000])),
    };
    let mut seen = [false; 2];
    for image in files.watched() {
        let found = load(&image).unwrap();
        assert!(found == before || found == after);
        seen[usize::from(found == after)] = true;
    }
    assert_eq!(seen, [true; 2]);
    assert_eq!(load(&files.image()).unwrap(), after);
    let logs = files.image().keys().filter(|name| name.ends_with(".log")).count();
    assert_eq!(logs, 1, "what went before is gone");
}

#[test]
fn files_of_the_machine_serve_and_are_held_by_one_log_at_a_time() {
    use crate::files::FolderFiles;
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft");
    let held: Arc<dyn Files> = Arc::new(FolderFiles::open(&path).unwrap());
    assert_eq!(FolderFiles::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let mut disk = SegmentDisk::open(Arc::clone(&held), NODE, SMALL).unwrap();
    disk.load().unwrap();
    for n in 0..60_u64 {
        let ops = [Op::Append(vec![(n, vec![1; 200])]), Op::Snapshot(vec![1], vec![2; 900])];
        disk.commit(&ops, None).unwrap();
    }
    drop((disk, held));
    let held: Arc<dyn Files> = Arc::new(FolderFiles::open(&path).unwrap());
    let found = SegmentDisk::open(held, NODE, SMALL).unwrap().load().unwrap();
    assert_eq!((found.log.len(), found.snapshot), (60, Some((vec![1], vec![2; 900]))));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in path.read_dir().unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
