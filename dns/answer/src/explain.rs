//! Why a name is answered as it is: for people who ask `taffeta resolve`.

use crate::{
    Answer, MAX_RRSET, Name, Question, RecordType, Snapshot, answer,
    machines::{group_members, in_group},
    service::{Held, ServiceEntry, canonical},
};
use smol_str::SmolStr;
use std::{collections::BTreeSet, fmt, net::IpAddr};

/// What DNS answers, what the name is about, and the verdict on each instance or machine behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What DNS answers.
    pub answer: Answer,
    /// What the name is about.
    pub subject: Subject,
    /// Instances or machines that the name could stand for; none for other names.
    pub behind: Vec<Explained>,
}

/// What a name is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service, one of its instances or one of its ports.
    Service {
        /// The app.
        app: String,
        /// The service.
        service: String,
        /// The label of the instance, if the name is of one.
        instance: Option<String>,
        /// The port, if the name is of one.
        port: Option<String>,
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
    /// Given or not, and why.
    pub verdict: Verdict,
}

/// Why something is given or hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the answer.
    Given,
    /// It is in the answer though its machine is suspected, as there is no other.
    GivenThoughSuspected,
    /// It is in some answers: there are more than fit, and each answer takes a fair sample.
    Sampled,
    /// It is not healthy, or about to stop.
    NotServing,
    /// Its machine is suspected or down, and another serves.
    Suspected,
    /// Its address is of the other family.
    OtherFamily,
    /// It does not have the port.
    NoSuchPort,
    /// It has no tags.
    NoTags,
    /// There is nothing of this type for it.
    NoSuchType,
    /// The node has no view of the ring yet.
    NotReady,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Given => "given",
            Self::GivenThoughSuspected => "given: its machine is suspected, but no other serves",
            Self::Sampled => "given in some answers: there are more than 100",
            Self::NotServing => "hidden: it is not serving",
            Self::Suspected => "hidden: its machine is suspected or has left, and another serves",
            Self::OtherFamily => "not given: its address is of the other family",
            Self::NoSuchPort => "not given: it does not have this port",
            Self::NoTags => "not given: it has no tags",
            Self::NoSuchType => "not given: it has no records of this type",
            Self::NotReady => "hidden: this node has no view of the ring yet",
        })
    }
}

/// Answers and says why.
pub fn explain(snapshot: &Snapshot, name: &Name, record_type: RecordType, seed: u64) -> Explanation {
    let answer = answer(snapshot, &Question::new(name.clone(), record_type), seed);
    let (subject, mut behind) = subject(snapshot, name, record_type);
    if !snapshot.ready {
        behind.iter_mut().for_each(|e| e.verdict = Verdict::NotReady);
    }
    if behind.iter().filter(|e| is_given(e.verdict)).count() > MAX_RRSET {
        behind.iter_mut().filter(|e| is_given(e.verdict)).for_each(|e| e.verdict = Verdict::Sampled);
    }
    Explanation { answer, subject, behind }
}

fn is_given(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Given | Verdict::GivenThoughSuspected)
}

fn subject(snapshot: &Snapshot, name: &Name, record_type: RecordType) -> (Subject, Vec<Explained>) {
    let lower = name.to_lowercase();
    let Some(labels) = lower.strip(&snapshot.domain) else {
        let known = name.reverse_address().filter(|a| snapshot.reverse.contains_key(a));
        return known.map_or((Subject::NotOurs, Vec::new()), |a| (Subject::Address(a), at_address(snapshot, a)));
    };
    if snapshot.find(name).is_none() {
        return (Subject::Unknown, Vec::new());
    }
    let texts: Option<Vec<&str>> = labels.iter().map(|l| std::str::from_utf8(l).ok()).collect();
    let texts = texts.unwrap_or_default();
    match texts[..] {
        [node, "node"] => (Subject::Machines, machines(snapshot, record_type, |n| n.eq_ignore_ascii_case(node))),
        [group @ ("leader" | "voters" | "nodes")] => {
            let nodes = &snapshot.machines.list;
            let (given, all) = (in_group(nodes, group), group_members(nodes, group));
            (Subject::Machines, all.into_iter().map(|n| machine(n, &given, record_type)).collect())
        }
        [service, app] => of_service(snapshot, app, service, None, None, record_type),
        [port, "_tcp", service, app] => {
            let port = port.strip_prefix('_').unwrap_or(port);
            of_service(snapshot, app, service, None, Some(port), record_type)
        }
        [instance, service, app] => of_service(snapshot, app, service, Some(instance), None, record_type),
        _ => (Subject::Structure, Vec::new()),
    }
}

fn of_service(
    snapshot: &Snapshot,
    app: &str,
    service: &str,
    label: Option<&str>,
    port: Option<&str>,
    record_type: RecordType,
) -> (Subject, Vec<Explained>) {
    let Some(entry) = snapshot.service(app, service) else {
        return (Subject::Structure, Vec::new());
    };
    if label == Some("_tcp") {
        return (Subject::Structure, Vec::new());
    }
    let wanted = entry.instances.iter().filter(|i| label.is_none_or(|l| i.label == l));
    let behind = wanted.map(|i| Explained {
        name: format!("{}.{service}.{app}", i.label),
        node: i.node.to_string(),
        address: i.address,
        port: port.or_else(|| entry.ports.first().map(SmolStr::as_str)).and_then(|p| i.port(p)),
        verdict: verdict(entry, i, label.is_some(), port, record_type),
    });
    let subject = Subject::Service {
        app: app.to_owned(),
        service: service.to_owned(),
        instance: label.map(str::to_owned),
        port: port.map(str::to_owned),
    };
    (subject, behind.collect())
}

fn verdict(
    entry: &ServiceEntry,
    instance: &Held,
    by_label: bool,
    port: Option<&str>,
    record_type: RecordType,
) -> Verdict {
    if !instance.serving {
        return Verdict::NotServing;
    }
    if instance.suspected && entry.hides_suspected {
        return Verdict::Suspected;
    }
    let shown = if instance.suspected { Verdict::GivenThoughSuspected } else { Verdict::Given };
    let has_port =
        || port.or_else(|| entry.ports.first().map(SmolStr::as_str)).and_then(|p| instance.port(p)).is_some();
    match record_type {
        RecordType::Srv if has_port() => shown,
        RecordType::Any if port.is_some() && has_port() => shown,
        RecordType::Srv => Verdict::NoSuchPort,
        RecordType::A | RecordType::Aaaa if port.is_none() => family(instance.address, record_type).unwrap_or(shown),
        RecordType::Txt if port.is_none() => {
            if instance.tags.is_empty() {
                Verdict::NoTags
            } else {
                shown
            }
        }
        // ANY gives one RRset: A where the service has one, AAAA otherwise.
        RecordType::Any if port.is_none() => {
            let mut asked = entry.shown().filter(|i| !by_label || i.label == instance.label);
            let any_v4 = asked.any(|i| canonical(i.address).is_ipv4());
            let first = if any_v4 { RecordType::A } else { RecordType::Aaaa };
            family(instance.address, first).unwrap_or(shown)
        }
        RecordType::Any => Verdict::NoSuchPort,
        RecordType::A
        | RecordType::Aaaa
        | RecordType::Txt
        | RecordType::Ptr
        | RecordType::Ns
        | RecordType::Soa
        | RecordType::Axfr
        | RecordType::Ixfr
        | RecordType::Other(_) => Verdict::NoSuchType,
    }
}

fn family(address: IpAddr, record_type: RecordType) -> Option<Verdict> {
    (canonical(address).is_ipv4() != (record_type == RecordType::A)).then_some(Verdict::OtherFamily)
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
    Explained { name: node.name.to_string(), node: node.name.to_string(), address: node.address, port: None, verdict }
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
        verdict: Verdict::Given,
    };
    machines.chain(instances).map(explained).collect()
}
