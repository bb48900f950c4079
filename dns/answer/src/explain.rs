//! Why a name is answered as it is: for people who ask `taffeta resolve`.

use crate::{
    Alias, Answer, Data, Name, Question, RecordType, Scheme, ServiceDns, Snapshot, Verdict,
    alias::Meaning,
    answer,
    held::Held,
    machines::{GROUPS, group_members, in_group},
    select::Viewpoint,
    service::ServiceEntry,
    sets::{Set, address, canonical},
    verdict::{Wanted, family, outlooks, verdict},
    zone::RrSet,
};
use smol_str::SmolStr;
use std::{borrow::Cow, collections::BTreeSet, net::IpAddr};

/// What DNS answers, what the name is about, and the verdict on each instance or machine behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What DNS answers.
    pub answer: Answer,
    /// How the name is read, if it is in a zone that is not our own.
    pub alias: Option<ReadAs>,
    /// What the name is about.
    pub subject: Subject,
    /// Instances or machines that the name could stand for; none for other names.
    pub behind: Vec<Explained>,
}

/// How a name of a further zone is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAs {
    /// The zone.
    pub zone: Name,
    /// Its scheme.
    pub scheme: Scheme,
    /// The name of our own zone that it stands for; `None` if it stands for none.
    pub name: Option<Name>,
}

/// What a name is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service, one of its instances, tags, versions or ports.
    Service {
        /// The app.
        app: String,
        /// The service.
        service: String,
        /// The label of the instance, if the name is of one.
        instance: Option<String>,
        /// The tag or version (`v12`), if the name is of one.
        selector: Option<String>,
        /// The port, if the name is of one.
        port: Option<String>,
        /// How the service wants to be answered for.
        dns: ServiceDns,
    },
    /// Machines: `NAME.node`, `leader`, `voters` or `nodes`.
    Machines,
    /// The reverse name of an address that the fabric knows.
    Address(IpAddr),
    /// Another name of the zone: its apex, browsing, or one that only has names below it.
    Structure,
    /// A name of the zone that does not exist.
    Unknown,
    /// A name of somebody else's zone.
    NotOurs,
}

/// One instance or machine, and whether it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// `2.web.shop` or `n2`.
    pub name: String,
    /// The machine.
    pub node: String,
    /// Its address.
    pub address: IpAddr,
    /// The port an SRV record gives, if there is one.
    pub port: Option<u16>,
    /// Its weight, of an instance.
    pub weight: Option<u16>,
    /// How far it is from this node, of an instance whose service is ordered by nearness: 0 on this machine, 1 in its
    /// zone, then by the measured distance; 255 where that is not known.
    pub distance: Option<u8>,
    /// Given or not, and why.
    pub verdict: Verdict,
}

/// Answers and says why, as this node itself would be answered.
pub fn explain(snapshot: &Snapshot, name: &Name, record_type: RecordType, seed: u64) -> Explanation {
    let answer = answer(snapshot, &Question::new(name.clone(), record_type), None, seed);
    let lower = name.to_lowercase();
    let (alias, subject, mut behind) = match snapshot.zone_of(&lower) {
        Some((apex, alias)) => in_zone(snapshot, &lower, apex, alias, record_type),
        None => {
            let known = name.reverse_address().filter(|a| snapshot.reverse.contains_key(a));
            let found = |a| (None, Subject::Address(a), at_address(snapshot, a));
            known.map_or((None, Subject::NotOurs, Vec::new()), found)
        }
    };
    if !snapshot.ready {
        behind.iter_mut().for_each(|e| e.verdict = Verdict::NotReady);
    }
    Explanation { answer, alias, subject, behind }
}

fn in_zone(
    snapshot: &Snapshot,
    lower: &Name,
    apex: &Name,
    alias: Option<&Alias>,
    asked: RecordType,
) -> (Option<ReadAs>, Subject, Vec<Explained>) {
    let labels = lower.strip(apex).unwrap_or_default();
    let texts: Option<Vec<&str>> = labels.into_iter().map(|l| std::str::from_utf8(l).ok()).collect();
    let texts = texts.unwrap_or_default();
    let meaning = match alias {
        Some(alias) if !texts.is_empty() => snapshot.meaning(alias, &texts),
        Some(_) | None => Some(Meaning::Own(texts)),
    };
    let (own, found) = match meaning {
        Some(Meaning::Own(own)) => {
            let found = subject(snapshot, &own, asked);
            (Some(own), found)
        }
        Some(Meaning::Ports(own)) => {
            let found = subject(snapshot, &own, RecordType::Srv).map(|found| of_ports(found, asked));
            (Some(own), found)
        }
        Some(Meaning::Empty | Meaning::Text(_)) | None => (None, None),
    };
    let own = own.and_then(|own| snapshot.domain.below(own).ok());
    let read_as = alias.map(|alias| ReadAs { zone: apex.clone(), scheme: alias.scheme, name: own });
    let nothing = || {
        let exists = snapshot.find(lower).is_some();
        (if exists { Subject::Structure } else { Subject::Unknown }, Vec::new())
    };
    let (subject, behind) = found.unwrap_or_else(nothing);
    (read_as, subject, behind)
}

/// A name of an alias that has SRV records alone.
fn of_ports((subject, mut behind): (Subject, Vec<Explained>), asked: RecordType) -> (Subject, Vec<Explained>) {
    if !asked.takes(RecordType::Srv) {
        behind.iter_mut().filter(|e| e.verdict.is_given()).for_each(|e| e.verdict = Verdict::NoSuchType);
    }
    (subject, behind)
}

/// What a name of our own zone is about, by its labels; `None` for one that is not about anything that has instances
/// or machines.
fn subject(snapshot: &Snapshot, labels: &[&str], record_type: RecordType) -> Option<(Subject, Vec<Explained>)> {
    match *labels {
        [] => None,
        [node, "node"] => {
            let machines = machines(snapshot, record_type, |n| n.eq_ignore_ascii_case(node));
            (!machines.is_empty()).then_some((Subject::Machines, machines))
        }
        [group] if GROUPS.contains(&group) => {
            let nodes = &snapshot.machines.list;
            let (given, all) = (in_group(nodes, group), group_members(nodes, group));
            Some((Subject::Machines, all.into_iter().map(|n| machine(n, &given, record_type)).collect()))
        }
        [_] => None,
        [ref below @ .., service, app] => of_service(snapshot, app, service, below, record_type),
    }
}

/// A name at or below a service's; `None` if it is no such name, or has nothing of its own.
fn of_service(
    snapshot: &Snapshot,
    app: &str,
    service: &str,
    below: &[&str],
    asked: RecordType,
) -> Option<(Subject, Vec<Explained>)> {
    // Also one that is absent just now: why it is, its instances tell.
    let entry = snapshot.services.get(&(app.into(), service.into()))?;
    let wanted = wanted(entry, below)?;
    let set = set_at(snapshot, entry, below, asked);
    let asked = match (&set, asked) {
        (Some(set), RecordType::Any) => set.records[0].record_type(),
        (Some(_), one) | (None, one) => one,
    };
    let from = Viewpoint { machines: &snapshot.machines, client: None };
    let outlooks = set.as_ref().map(|set| (set, outlooks(set, from)));
    let labelled = |i: &&Held| wanted.instance.is_none_or(|label| i.label == label);
    let behind = entry.instances.iter().map(|i| &**i).filter(labelled).map(|held| {
        let verdict = match (verdict(entry, held, wanted, asked), &outlooks) {
            (Verdict::Given | Verdict::GivenThoughSuspected, Some((set, outlooks))) if asked != RecordType::Txt => {
                outlook(set, outlooks, held)
            }
            (verdict, _) => verdict,
        };
        explained(snapshot, entry, held, wanted.port, (service, app), verdict)
    });
    let behind = behind.collect();
    let subject = Subject::Service {
        app: app.to_owned(),
        service: service.to_owned(),
        instance: wanted.instance.map(str::to_owned),
        selector: wanted.selector.map(str::to_owned),
        port: wanted.port.map(str::to_owned),
        dns: entry.dns,
    };
    Some((subject, behind))
}

/// What the labels below a service's name stand for.
fn wanted<'a>(entry: &ServiceEntry, below: &[&'a str]) -> Option<Wanted<'a>> {
    let (port, below) = match *below {
        [port, "_tcp", ref rest @ ..] => (Some(port.strip_prefix('_')?), rest),
        ref rest => (None, rest),
    };
    if port.is_some_and(|port| !entry.ports.iter().any(|p| p == port)) {
        return None;
    }
    match *below {
        [] => Some(Wanted { port, ..Wanted::default() }),
        [label] if port.is_none() && entry.has_instance(label) => {
            Some(Wanted { instance: Some(label), ..Wanted::default() })
        }
        [label] if entry.subset(label).is_some() => Some(Wanted { selector: Some(label), port, ..Wanted::default() }),
        _ => None,
    }
}

fn set_at<'a>(
    snapshot: &'a Snapshot,
    entry: &'a ServiceEntry,
    below: &[&str],
    asked: RecordType,
) -> Option<Cow<'a, Set>> {
    match snapshot.in_service(entry, below)?.rrset(snapshot, asked)? {
        RrSet::List(set) => Some(set),
        RrSet::Pointers(_) | RrSet::Kinds(_) | RrSet::Kind(..) => None,
    }
}

/// Of an instance that has a record in the set.
fn outlook(set: &Set, outlooks: &[Verdict], held: &Held) -> Verdict {
    let is_its =
        |data: &Data| *data == address(held.address) || data.target().is_some_and(|t| Some(t) == held.own.as_ref());
    let position = set.records.iter().position(is_its);
    match position.map_or(Verdict::NoSuchType, |position| outlooks[position]) {
        Verdict::Given if held.suspected => Verdict::GivenThoughSuspected,
        other => other,
    }
}

fn explained(
    snapshot: &Snapshot,
    entry: &ServiceEntry,
    held: &Held,
    port: Option<&str>,
    (service, app): (&str, &str),
    verdict: Verdict,
) -> Explained {
    let step = snapshot.machines.spot(&held.node).rank(snapshot.machines.here(None));
    Explained {
        name: format!("{}.{service}.{app}", held.label),
        node: held.node.to_string(),
        address: held.address,
        port: port.or_else(|| entry.ports.first().map(SmolStr::as_str)).and_then(|p| held.port(p)),
        weight: Some(held.weight),
        distance: entry.is_near().then_some(step),
        verdict,
    }
}

fn machines(snapshot: &Snapshot, record_type: RecordType, wanted: impl Fn(&str) -> bool) -> Vec<Explained> {
    let nodes: Vec<&crate::Node> = snapshot.machines.list.iter().filter(|n| wanted(&n.name)).collect();
    nodes.iter().map(|n| machine(n, &nodes, record_type)).collect()
}

fn machine(node: &crate::Node, given: &[&crate::Node], record_type: RecordType) -> Explained {
    let shown = if node.up { Verdict::Given } else { Verdict::GivenThoughSuspected };
    let verdict = if !given.iter().any(|g| std::ptr::eq(*g, node)) {
        Verdict::Suspected
    } else if matches!(record_type, RecordType::A | RecordType::Aaaa) {
        family(node.address, record_type).unwrap_or(shown)
    } else if record_type == RecordType::Any {
        let first = if given.iter().any(|n| canonical(n.address).is_ipv4()) { RecordType::A } else { RecordType::Aaaa };
        family(node.address, first).unwrap_or(shown)
    } else {
        Verdict::NoSuchType
    };
    Explained {
        name: node.name.to_string(),
        node: node.name.to_string(),
        address: node.address,
        port: None,
        weight: None,
        distance: None,
        verdict,
    }
}

/// Everything at an address has a pointer, hidden or not: a reverse look-up serves reading logs.
fn at_address(snapshot: &Snapshot, address: IpAddr) -> Vec<Explained> {
    let here = |a: IpAddr| canonical(a) == address;
    let machines = snapshot.machines.list.iter().filter(|n| here(n.address)).map(|n| (n.name.to_string(), &n.name));
    let names: BTreeSet<&Name> = snapshot.reverse.get(&address).into_iter().flat_map(|names| names.iter()).collect();
    let instances = names.into_iter().flat_map(|name| {
        let labels = name.strip(&snapshot.domain).unwrap_or_default();
        let texts: Vec<&str> = labels.iter().filter_map(|l| std::str::from_utf8(l).ok()).collect();
        let (label, service, app) =
            if let [label, service, app] = texts[..] { (label, service, app) } else { ("", "", "") };
        let held = snapshot.service(app, service).into_iter().flat_map(|entry| entry.labelled(label));
        held.filter(|i| here(i.address)).map(|i| (format!("{label}.{service}.{app}"), &i.node)).collect::<Vec<_>>()
    });
    let explained = |(name, node): (String, &SmolStr)| Explained {
        name,
        node: node.to_string(),
        address,
        port: None,
        weight: None,
        distance: None,
        verdict: Verdict::Given,
    };
    machines.chain(instances).map(explained).collect()
}
