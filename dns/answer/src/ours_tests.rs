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

#[test]
fn a_name_without_the_domain_is_completed_if_there_is_something_of_it() {
    let snapshot = Snapshot::build(input());
    let completed = |name: &str| {
        let name: Name = name.parse().unwrap();
        snapshot.completed(&[name.wire(), &[0]].concat()).map(|name| name.to_string())
    };
    let (service, app) = snapshot.by_service.iter().next().expect("a service");
    let short = format!("{service}.{app}");
    assert_eq!(completed(&short), Some(format!("{short}.fabric.internal.")));
    assert_eq!(completed(&format!("no-such.{app}")), None);
    assert_eq!(completed(service), None, "which app's it is the resolver knows by its search list");
    assert_eq!(completed(&format!("{short}.example")), None);
    let unready = Snapshot::build(SnapshotInput { ready: false, ..input() });
    let name: Name = short.parse().unwrap();
    assert_eq!(unready.completed(&[name.wire(), &[0]].concat()), None);
}
