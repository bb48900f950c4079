use super::common::*;

#[test]
fn without_room_nothing_changes_and_the_same_commit_succeeds_later() {
    let small = || vec![Op::Append(vec![(1_000, vec![3; 700])]), Op::Vote(vec![2; 9])];
    let large = || {
        let mut ops = small();
        ops.extend([Op::Snapshot(vec![1; 9], vec![2; 900]), Op::Purge(40, vec![4; 5])]);
        ops
    };
    let mut refusals = 0;
    for (ops, commits) in [(small(), 3), (large(), 1)] {
        for room in (0..6_000).step_by(61) {
            let (files, held) = logged();
            let mut disk = opened(&files);
            for n in 0..commits {
                let ops: Vec<Op> = if n == 0 { ops.clone() } else { small() };
                let before = load(&files.image()).unwrap();
                files.set_room(Some(room));
                if let Err(error) = disk.commit(&ops, None) {
                    assert!(is_full(&error), "{error}");
                    refusals += 1;
                    assert_eq!(load(&files.image()).unwrap(), before, "{room} bytes of room");
                    assert!(is_full(&disk.commit(&ops, None).unwrap_err()));
                    assert_eq!(load(&files.image()).unwrap(), before, "{room} bytes of room");
                    files.set_room(None);
                    disk.commit(&ops, None).unwrap();
                }
                files.set_room(None);
                let after = load(&files.image()).unwrap();
                assert_eq!((&after.vote, &after.log[&1_000]), (&Some(vec![2; 9]), &vec![3; 700]));
            }
            let left = files.image();
            assert!(!left.keys().any(|name| name.ends_with(".new")), "{:?}", left.keys());
            assert!(held.log.len() < 60);
        }
    }
    assert!(refusals > 50, "{refusals}");
}

#[test]
fn a_sync_that_fails_for_want_of_room_is_tried_again_and_any_other_is_final() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let (files, held) = logged();
        let mut disk = opened(&files);
        files.fail_next_sync(kind);
        assert!(is_full(&disk.commit(&[Op::Vote(vec![1])], None).unwrap_err()));
        assert_eq!(load(&files.image()).unwrap(), held);
        disk.commit(&[Op::Vote(vec![1])], None).unwrap();
        assert_eq!(load(&files.image()).unwrap().vote, Some(vec![1]));
    }
    let (files, _) = logged();
    let mut disk = opened(&files);
    files.fail_next_sync(io::ErrorKind::Other);
    for _ in 0..3 {
        let error = disk.commit(&[Op::Vote(vec![1])], None).unwrap_err();
        assert!(!is_full(&error), "nobody knows what a sync that failed has left on disk");
    }
}

#[test]
fn the_gauge_tells_when_there_is_little_room() {
    let files = MemoryFiles::default();
    let gauge = opened(&files).gauge();
    assert!(!gauge.is_full());
    files.set_room(Some(1_000));
    assert!(gauge.is_full());
    files.set_room(Some(2 << 20));
    assert!(!gauge.is_full());
}
