//! Why an instance or a machine is given or hidden.

use crate::{
    RecordType,
    held::Held,
    machines::UNKNOWN,
    select::Viewpoint,
    service::ServiceEntry,
    sets::{Ranking, Set, canonical},
};
use std::{fmt, net::IpAddr};

/// Why something is given or hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the answer.
    Given,
    /// It is in the answer though its machine is suspected, as there is no other.
    GivenThoughSuspected,
    /// It is in some answers: there are more than are given at once, and each answer takes a sample in the service's
    /// order.
    Sampled,
    /// Others are nearer to this node, and they are as many as are given at once.
    Further,
    /// Its weight is 0, and another's is above.
    NoWeight,
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
    /// It does not carry the tag, or is not of the version.
    NotSelected,
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
            Self::Sampled => "given in some answers: there are more than an answer takes",
            Self::Further => "not given: others are nearer, and an answer takes no more",
            Self::NoWeight => "not given: its weight is 0, and another has more",
            Self::NotServing => "hidden: it is not serving",
            Self::Suspected => "hidden: its machine is suspected or has left, and another serves",
            Self::OtherFamily => "not given: its address is of the other family",
            Self::NoSuchPort => "not given: it does not have this port",
            Self::NoTags => "not given: it has no tags",
            Self::NotSelected => "not given: it does not have this tag or version",
            Self::NoSuchType => "not given: it has no records of this type",
            Self::NotReady => "hidden: this node has no view of the ring yet",
        })
    }
}

impl Verdict {
    /// Whether it is in answers, if only in some.
    pub fn is_given(self) -> bool {
        matches!(self, Self::Given | Self::GivenThoughSuspected | Self::Sampled)
    }
}

/// What a name of a service stands for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// The label of an instance.
    pub(crate) instance: Option<&'a str>,
    /// A tag or version.
    pub(crate) selector: Option<&'a str>,
    pub(crate) port: Option<&'a str>,
}

/// Whether an instance has a record of a type at a name, how many ever are given.
pub(crate) fn verdict(entry: &ServiceEntry, held: &Held, wanted: Wanted<'_>, asked: RecordType) -> Verdict {
    let subset = wanted.selector.and_then(|label| entry.subset(label));
    let selected = |set: &crate::subset::Subset| set.instances(&entry.instances).any(|i| std::ptr::eq(i, held));
    if wanted.selector.is_some() && !subset.is_some_and(selected) {
        return Verdict::NotSelected;
    }
    let shown = match (wanted.instance, subset) {
        (Some(_), _) => entry.is_addressed(held),
        (None, Some(subset)) => held.is_shown(subset.hides_suspected),
        (None, None) => held.is_shown(entry.hides_suspected),
    };
    if !held.serving {
        return Verdict::NotServing;
    } else if !shown {
        return Verdict::Suspected;
    }
    let given = if held.suspected { Verdict::GivenThoughSuspected } else { Verdict::Given };
    match wanted.port {
        Some(port) => at_port(held, port, asked).unwrap_or(given),
        None => at_name(entry, held, asked).unwrap_or(given),
    }
}

/// Why there is nothing at a port's name.
fn at_port(held: &Held, port: &str, asked: RecordType) -> Option<Verdict> {
    let has_type = match asked {
        RecordType::Svcb => crate::binding::is_known(port),
        RecordType::Srv | RecordType::Any => true,
        RecordType::A
        | RecordType::Aaaa
        | RecordType::Txt
        | RecordType::Https
        | RecordType::Ptr
        | RecordType::Ns
        | RecordType::Soa
        | RecordType::Axfr
        | RecordType::Ixfr
        | RecordType::Other(_) => false,
    };
    if !has_type { Some(Verdict::NoSuchType) } else { held.port(port).is_none().then_some(Verdict::NoSuchPort) }
}

/// Why there is nothing at the name of a service, a tag or an instance. ANY is asked as the type that it is given.
fn at_name(entry: &ServiceEntry, held: &Held, asked: RecordType) -> Option<Verdict> {
    match asked {
        RecordType::A | RecordType::Aaaa => family(held.address, asked),
        RecordType::Srv => {
            let has_first = entry.ports.first().is_some_and(|port| held.port(port).is_some());
            (!has_first).then_some(Verdict::NoSuchPort)
        }
        RecordType::Txt => held.tags.is_empty().then_some(Verdict::NoTags),
        RecordType::Https => (held.port("https").is_none() && held.port("h3").is_none()).then_some(Verdict::NoSuchPort),
        RecordType::Any
        | RecordType::Svcb
        | RecordType::Ptr
        | RecordType::Ns
        | RecordType::Soa
        | RecordType::Axfr
        | RecordType::Ixfr
        | RecordType::Other(_) => Some(Verdict::NoSuchType),
    }
}

pub(crate) fn family(address: IpAddr, record_type: RecordType) -> Option<Verdict> {
    (canonical(address).is_ipv4() != (record_type == RecordType::A)).then_some(Verdict::OtherFamily)
}

/// Of each record of a set, whether it is in every answer (`Given`), in some or in none.
pub(crate) fn outlooks(set: &Set, from: Viewpoint<'_>) -> Vec<Verdict> {
    let (len, limit) = (set.records.len(), usize::from(set.limit));
    let fit = |count: usize| if count <= limit { Verdict::Given } else { Verdict::Sampled };
    match &set.ranking {
        Ranking::Equal => vec![fit(len); len],
        Ranking::Weighted(weights) => {
            let outlook = |position| if weights.has(position) { fit(weights.positive()) } else { Verdict::NoWeight };
            (0..len).map(outlook).collect()
        }
        Ranking::Near(spots) => {
            let here = from.machines.here(from.client);
            let mut ranks = vec![UNKNOWN; len];
            for (position, spot) in spots {
                let known = &mut ranks[*position as usize];
                *known = spot.rank(here).min(*known);
            }
            let up_to = |rank: u8| ranks.iter().filter(|r| **r <= rank).count();
            let nearer = |rank: u8| ranks.iter().filter(|r| **r < rank).count();
            let outlook = |rank: &u8| if nearer(*rank) >= limit { Verdict::Further } else { fit(up_to(*rank)) };
            ranks.iter().map(outlook).collect()
        }
    }
}
