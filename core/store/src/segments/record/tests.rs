use super::*;
use proptest::prelude::*;

fn some_records() -> Vec<Record<'static>> {
    let snapshot = SnapshotRef { serial: 3, length: 900, checksum: u32::MAX };
    let base = Base {
        vote: Some(vec![1, 2]),
        committed: None,
        purged: Some(vec![]),
        snapshot: Some(snapshot),
        live: vec![(3, 9), (u64::MAX, u64::MAX)],
    };
    vec![
        Record::Entry(u64::MAX, b"entry"),
        Record::Entry(0, b""),
        Record::Vote(b"vote"),
        Record::Truncate(7),
        Record::Purge(8, b"id"),
        Record::Committed(b"id"),
        Record::Snapshot(snapshot),
        Record::Base(base),
        Record::Base(Base::default()),
        Record::Next(9),
    ]
}

fn encoded(records: &[Record<'_>]) -> Vec<u8> {
    let mut body = vec![];
    records.iter().try_for_each(|record| encode(record, &mut body)).unwrap();
    body
}

#[test]
fn records_come_back_as_they_were() {
    assert_eq!(decode(&encoded(&some_records())).unwrap(), some_records());
    assert_eq!(decode(b"").unwrap(), []);
}

#[test]
fn a_body_that_was_cut_off_is_none() {
    let body = encoded(&some_records());
    let whole: Vec<usize> = (0..=some_records().len()).map(|n| encoded(&some_records()[..n]).len()).collect();
    for length in 0..body.len() {
        assert_eq!(decode(&body[..length]).is_some(), whole.contains(&length), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_records_or_none(mut body in prop::collection::vec(any::<u8>(), 0..300), kind in 0..12u8) {
        if let Some(first) = body.first_mut() {
            *first = kind;
        }
        let _ = decode(&body);
    }
}
