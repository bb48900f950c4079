use crate::{tests::input, *};

#[test]
fn snapshot_knows_which_names_it_answers_for() {
    let alias = Alias { domain: "Service.Consul".parse().unwrap(), scheme: Scheme::Consul };
    let snapshot = Snapshot::build(SnapshotInput { aliases: vec![alias], ..input() });
    for name in [
        "fabric.internal",
        "no.such.FABRIC.internal",
        "x.service.consul",
        "consul",
        "internal",
        "xfabric.internal",
        "1.0.0.10.in-addr.arpa",
        "9.0.0.10.in-addr.arpa",
        ".",
        "x\\006fabric\\008internal",
        "x.fabric.internal\\000",
    ] {
        let name: Name = name.parse().unwrap();
        let question = Question::new(name.clone(), RecordType::A);
        let ours = answer(&snapshot, &question, None, 1) != Answer::NotOurs;
        assert_eq!(snapshot.answers_for(&[name.wire(), &[0]].concat()), ours, "{name}");
    }
}
