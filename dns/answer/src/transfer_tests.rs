//! Zone transfers.

use crate::{
    naive_zone::NaiveZone,
    oracle_tests::an_input,
    tests::{input, instance},
    *,
};
use proptest::prelude::*;

fn transferred(snapshot: &Snapshot) -> Vec<Record> {
    snapshot.transfer(snapshot.domain()).unwrap().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn transfer_has_every_record_once(input in an_input()) {
        let records = transferred(&Snapshot::build(input.clone()));
        let zone = NaiveZone::lay_out(input);
        let is_soa = |record: &Record| record.data.record_type() == RecordType::Soa;
        prop_assert!(is_soa(&records[0]) && records[0] == records[records.len() - 1]);
        let mut got: Vec<(Name, Data)> = records.into_iter().skip(1).map(|r| (r.name, r.data)).collect();
        got.sort();
        let sets = zone.names.iter().flat_map(|(name, sets)| sets.values().flatten().map(move |d| (name, d)));
        let mut expected: Vec<(Name, Data)> = sets.map(|(name, data)| (name.clone(), data.clone())).collect();
        expected.sort();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn only_our_own_zone_is_transferred_and_large_sets_are_cut() {
    let many = |n: u16| {
        let address = format!("10.1.{}.{}", n / 250, n % 250);
        instance("shop", "web", &n.to_string(), "n1", &address, 20000)
    };
    let alias = Alias { domain: "old.example".parse().unwrap(), scheme: Scheme::Fabric };
    let instances = (0..250).map(many).collect();
    let snapshot = Snapshot::build(SnapshotInput { aliases: vec![alias], instances, ..input() });
    for zone in ["old.example", "x.fabric.internal", "internal"] {
        assert!(snapshot.transfer(&zone.parse().unwrap()).is_none(), "{zone}");
    }
    let records = transferred(&snapshot);
    let sets = records.chunk_by(|a, b| a.name == b.name && a.data.record_type() == b.data.record_type());
    assert_eq!(sets.map(<[Record]>::len).max(), Some(MAX_RRSET));
    assert_eq!(records, transferred(&snapshot));
}
