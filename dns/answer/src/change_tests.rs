//! Changed snapshots against ones built from scratch, and against the zone laid out name by name.

use crate::{
    naive_zone::NaiveZone,
    service::service_key,
    tests::{ask_snapshot, input, instance},
    *,
};
use proptest::prelude::*;
use smol_str::SmolStr;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU8,
};

const TYPES: [RecordType; 11] = [
    RecordType::A,
    RecordType::Aaaa,
    RecordType::Srv,
    RecordType::Txt,
    RecordType::Https,
    RecordType::Svcb,
    RecordType::Ptr,
    RecordType::Ns,
    RecordType::Soa,
    RecordType::Any,
    RecordType::Other(257),
];

fn one_of(texts: Vec<&'static str>) -> impl Strategy<Value = SmolStr> {
    prop::sample::select(texts).prop_map(SmolStr::from)
}

/// Longer than one label may be once app and service are joined to it.
const LONG: &str = "a-label-of-sixty-one-bytes-that-dns-carries-but-browsing-no-m";
const LONGEST: &str = "a-name-of-sixty-three-bytes-that-has-no-room-for-one-underscore";

fn an_address() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "fd00::1"]).prop_map(|a| a.parse().unwrap())
}

prop_compose! {
    fn an_instance()(
        label in one_of(vec!["1", "2", "web", "Web", "a.b", "_x", LONG]), node in one_of(vec!["n1", "n2"]),
        address in an_address(),
        ports in prop::collection::vec((one_of(vec!["http", "HTTP", "grpc", "https", "h3", LONGEST]), 1..4u16), 0..3),
        tags in prop::collection::vec(one_of(vec!["v1", "V2", "1", "a.b", LONGEST]), 0..3),
        version in 0..3u64, weight in prop::sample::select(vec![0, 0, 1, 10]),
        serving in prop::bool::weighted(0.8), suspected in any::<bool>(),
    ) -> Instance {
        let (app, service) = (SmolStr::default(), SmolStr::default());
        Instance { app, service, label, node, address, ports, tags, version, weight, serving, suspected }
    }
}

fn a_key() -> impl Strategy<Value = (SmolStr, SmolStr)> {
    (one_of(vec!["shop", "b", "node", "a.b", LONGEST]), one_of(vec!["web", "1", "b", "_tcp", LONGEST]))
}

fn a_dns() -> impl Strategy<Value = ServiceDns> {
    let order = prop::sample::select(vec![Order::Random, Order::Weighted, Order::Near]);
    let empty = prop::sample::select(vec![Empty::NoData, Empty::NxDomain]);
    let answers = prop::option::weighted(0.3, (1..4u8).prop_map(|n| NonZeroU8::new(n).unwrap()));
    (order, answers, empty).prop_map(|(order, answers, empty)| ServiceDns { order, answers, empty })
}

fn a_service() -> impl Strategy<Value = Option<ServiceState>> {
    let ports = prop::collection::vec(one_of(vec!["http", "grpc", "Admin"]), 0..3);
    let state = (ports, a_dns(), prop::collection::vec(an_instance(), 0..5));
    let state = state.prop_map(|(ports, dns, instances)| ServiceState { ports, dns, instances });
    prop::option::weighted(0.8, state)
}

fn a_node() -> impl Strategy<Value = Node> {
    let place = (one_of(vec!["", "a", "b"]), prop::option::of(0..3u8));
    (one_of(vec!["n1", "N1", "n2", "_n", "x.y"]), an_address(), any::<[bool; 3]>(), place).prop_map(
        |(name, address, [up, is_leader, is_voter], (zone, distance))| Node {
            name,
            address,
            up,
            is_leader,
            is_voter,
            zone,
            distance,
        },
    )
}

prop_compose! {
    fn a_change()(
        serial in any::<u32>(), ttl in 0..9u32, negative_ttl in 0..9u32,
        ready in prop::bool::weighted(0.9), stale in any::<bool>(),
        services in prop::collection::btree_map(a_key(), a_service(), 0..4),
        nodes in prop::option::weighted(0.3, prop::collection::vec(a_node(), 0..4)),
    ) -> Change {
        Change { serial, ttl, negative_ttl, ready, stale, services, nodes }
    }
}

/// A small change to some service that there is: most of its instances stay as they are.
#[derive(Clone, Debug)]
enum Tweak {
    Serving,
    Suspected,
    Remove,
    Insert(Instance),
}

fn a_tweak() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, Tweak)> {
    let tweak = prop_oneof![
        Just(Tweak::Serving),
        Just(Tweak::Suspected),
        Just(Tweak::Remove),
        an_instance().prop_map(Tweak::Insert)
    ];
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), tweak)
}

fn a_step() -> impl Strategy<Value = (Change, Vec<(prop::sample::Index, prop::sample::Index, Tweak)>)> {
    let tweaks_alone = a_change().prop_map(|change| Change { services: BTreeMap::new(), nodes: None, ..change });
    (prop_oneof![a_change(), tweaks_alone], prop::collection::vec(a_tweak(), 0..4))
}

/// What a snapshot is made of, by its last changes.
#[derive(Default)]
struct Model {
    services: BTreeMap<(SmolStr, SmolStr), ServiceState>,
    nodes: Vec<Node>,
}

impl Model {
    fn tweak(&self, change: &mut Change, service: prop::sample::Index, at: prop::sample::Index, tweak: Tweak) {
        if self.services.is_empty() {
            return;
        }
        let (key, state) = self.services.iter().nth(service.index(self.services.len())).unwrap();
        let entry = change.services.entry(key.clone()).or_insert_with(|| Some(state.clone()));
        let Some(ServiceState { instances, .. }) = entry else { return };
        match (tweak, instances.len()) {
            (Tweak::Insert(instance), len) => instances.insert(at.index(len + 1), instance),
            (Tweak::Serving | Tweak::Suspected | Tweak::Remove, 0) => {}
            (Tweak::Serving, len) => instances[at.index(len)].serving ^= true,
            (Tweak::Suspected, len) => instances[at.index(len)].suspected ^= true,
            (Tweak::Remove, len) => drop(instances.remove(at.index(len))),
        }
    }

    fn apply(&mut self, change: &Change) {
        for (key, state) in &change.services {
            match state {
                Some(state) => drop(self.services.insert(key.clone(), state.clone())),
                None => drop(self.services.remove(key)),
            }
        }
        self.nodes = change.nodes.clone().unwrap_or_else(|| self.nodes.clone());
    }

    fn input(&self, change: &Change) -> SnapshotInput {
        let Change { serial, ttl, negative_ttl, ready, stale, .. } = *change;
        let (mut services, mut instances) = (Vec::new(), Vec::new());
        for ((app, service), state) in &self.services {
            let (app, service) = (app.clone(), service.clone());
            let of_this = |i: &Instance| Instance { app: app.clone(), service: service.clone(), ..i.clone() };
            instances.extend(state.instances.iter().map(of_this));
            services.push(Service { app, service, ports: state.ports.clone(), dns: state.dns });
        }
        let nodes = self.nodes.clone();
        let new = SnapshotInput::new(domain(), "n1");
        SnapshotInput { serial, ttl, negative_ttl, ready, stale, services, instances, nodes, ..new }
    }
}

/// So long that some names do not fit.
fn domain() -> Name {
    format!("fabric.{}.{}.internal", "x".repeat(40), "y".repeat(30)).parse().unwrap()
}

type Counts = BTreeMap<Name, u32>;

/// Everything that is shared, with its counts.
fn shared(snapshot: &Snapshot) -> (BTreeMap<IpAddr, Counts>, BTreeMap<SmolStr, Counts>) {
    let reverse = snapshot.reverse.iter().map(|(address, names)| (*address, names.counts()));
    (reverse.collect(), snapshot.browsing.counts())
}

fn check(snapshot: &Snapshot, ever: &BTreeSet<Name>, zone: &NaiveZone) -> Result<(), TestCaseError> {
    for name in ever {
        let expected = zone.names.get(name);
        prop_assert_eq!(snapshot.find(name).is_some(), expected.is_some(), "{}", name);
        for record_type in TYPES {
            let expected = match (expected, record_type) {
                (None, _) => None,
                (Some(sets), RecordType::Any) => Some(sets.values().next()),
                (Some(sets), one) => Some(sets.get(&one)),
            };
            let got = answer(snapshot, &Question::new(name.clone(), record_type), None, 3);
            match (got, expected) {
                _ if !snapshot.is_ready() => {}
                (Answer::NxDomain { .. }, None) | (Answer::NoData { .. }, Some(None)) => {}
                (Answer::Data { records, .. }, Some(Some(expected))) => {
                    let data = records.into_iter().map(|r| r.data).collect();
                    is_selection(data, expected, zone.dns.get(name).copied().unwrap_or_default())?;
                }
                (got, expected) => prop_assert!(false, "{name} {record_type}: {got:?}, not {expected:?}"),
            }
        }
    }
    prop_assert!(snapshot.reverse.keys().eq(zone.reverse.keys()));
    for (address, expected) in &zone.reverse {
        let mut data: Vec<Data> = snapshot.reverse[address].iter().map(|n| Data::Ptr(n.clone())).collect();
        data.sort();
        prop_assert_eq!(&data, expected);
    }
    Ok(())
}

/// Whether the records are as many of all as the service wants. Which ones, the tests of orders know.
fn is_selection(mut got: Vec<Data>, all: &[Data], dns: ServiceDns) -> Result<(), TestCaseError> {
    for data in &mut got {
        match data {
            Data::Srv { priority, .. } => *priority = 0,
            Data::Https(binding) | Data::Svcb(binding) => binding.priority = 1,
            Data::A(_) | Data::Aaaa(_) | Data::Txt(_) | Data::Ptr(_) | Data::Ns(_) | Data::Soa { .. } => {}
        }
    }
    got.sort();
    let is_text = all[0].record_type() == RecordType::Txt;
    let most = dns.answers.filter(|_| !is_text).map_or(MAX_RRSET, |n| n.get().into()).min(all.len());
    if dns.order == Order::Weighted && !is_text {
        prop_assert!(!got.is_empty() && got.len() <= most, "{got:?} of {all:?}");
    } else {
        prop_assert_eq!(got.len(), most, "{:?} of {:?}", got, all);
    }
    prop_assert!(got.windows(2).all(|pair| pair[0] != pair[1]) && got.iter().all(|data| all.contains(data)));
    Ok(())
}

/// All names of services are answered alike, order and all.
fn are_answered_alike(a: &Snapshot, b: &Snapshot, zone: &NaiveZone, seed: u64) -> Result<(), TestCaseError> {
    let clients: [Option<IpAddr>; 2] = [None, Some([10, 0, 0, 2].into())];
    for (name, record_type, client) in zone.dns.keys().flat_map(|name| {
        TYPES.into_iter().flat_map(move |record_type| clients.map(|client| (name, record_type, client)))
    }) {
        let question = Question::new(name.clone(), record_type);
        prop_assert_eq!(answer(a, &question, client, seed), answer(b, &question, client, seed));
    }
    Ok(())
}

fn neighbours(name: &Name) -> Vec<Name> {
    let labels = ["x", "_x", "web", "_tcp", "_http", "1", "v1", "v2", LONGEST, r"1.web.shop", "node"];
    let below = labels.iter().filter_map(|l| name.child(l).ok());
    below.chain(name.parent()).filter(|n| n.is_within(&domain())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn changed_snapshot_equals_one_built_from_scratch(
        steps in prop::collection::vec(a_step(), 1..10), seed in any::<u64>(),
    ) {
        let mut snapshot = Snapshot::build(SnapshotInput::new(domain(), "n1"));
        let (mut model, mut ever) = (Model::default(), BTreeSet::new());
        for (mut change, tweaks) in steps {
            tweaks.into_iter().for_each(|(service, at, tweak)| model.tweak(&mut change, service, at, tweak));
            model.apply(&change);
            let input = model.input(&change);
            let before = (snapshot.clone(), shared(&snapshot));
            snapshot = snapshot.changed(change);
            prop_assert!(shared(&before.0) == before.1, "the older snapshot changed");
            let (built, zone) = (Snapshot::build(input.clone()), NaiveZone::lay_out(input));
            ever.extend(zone.names.keys().flat_map(neighbours).chain(zone.names.keys().cloned()));
            check(&snapshot, &ever, &zone)?;
            check(&built, &ever, &zone)?;
            are_answered_alike(&snapshot, &built, &zone, seed)?;
            prop_assert_eq!(shared(&snapshot), shared(&built));
            prop_assert!(snapshot.services.keys().eq(built.services.keys()));
            prop_assert!(snapshot.by_service.iter().eq(built.by_service.iter()));
            prop_assert_eq!(snapshot.present, built.present);
        }
    }
}

#[test]
fn service_key_takes_only_what_an_app_file_can_say() {
    assert_eq!(service_key("Shop", "Web"), Some(("shop".into(), "web".into())));
    for (app, service) in [("node", "web"), ("a.b", "web"), ("shop", "a.b"), ("_x", "web"), ("shop", "")] {
        assert_eq!(service_key(app, service), None);
    }
}

#[test]
fn unchanged_instances_are_shared_with_the_snapshot_before() {
    let before = Snapshot::build(input());
    let mut change = before.no_change();
    let mut instances: Vec<Instance> = input().instances;
    instances[1].serving = false;
    let ports = vec!["http".into(), "admin".into()];
    change
        .services
        .insert(("shop".into(), "web".into()), Some(ServiceState { ports, dns: ServiceDns::default(), instances }));
    let after = before.changed(change);
    let shared = |i: usize| {
        let of = |s: &Snapshot| std::sync::Arc::as_ptr(&s.services[&("shop".into(), "web".into())].instances[i]);
        of(&before) == of(&after)
    };
    assert_eq!([0, 1, 2].map(shared), [true, false, true]);
}

#[test]
fn last_source_of_a_shared_name_takes_it_along() {
    let key = |service: &str| (SmolStr::new("blog"), SmolStr::new(service));
    let state = |service| {
        let instances = vec![instance("blog", service, "1", "n9", "10.9.9.9", 80)];
        Some(ServiceState { instances, ..ServiceState::default() })
    };
    let exists = |snapshot: &Snapshot, name: &str| {
        let answer = ask_snapshot(snapshot, name, RecordType::Ptr);
        matches!(answer, Answer::Data { .. } | Answer::NoData { .. })
    };
    let mut change = Snapshot::build(input()).no_change();
    change.services.extend([(key("a"), state("a")), (key("b"), state("b"))]);
    let both = Snapshot::build(input()).changed(change.clone());
    change.services = [(key("a"), None)].into();
    let one = both.changed(change.clone());
    change.services = [(key("b"), None)].into();
    let none = one.changed(change);
    for name in ["blog.fabric.internal", "9.9.9.10.in-addr.arpa"] {
        assert_eq!([&both, &one, &none].map(|s| exists(s, name)), [true, true, false], "{name}");
    }
    assert!(exists(&none, "shop.fabric.internal") && exists(&none, "_tcp.fabric.internal"));
}
