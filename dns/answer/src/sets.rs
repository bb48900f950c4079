//! RRsets as they are laid out: each record once, and what decides which of them come first.

use crate::{
    Data, MAX_RRSET, Name, Order, RecordType, ServiceDns,
    held::Held,
    machines::{Machines, Spot},
    weights::Weights,
    wire::Targets,
};
use std::{collections::BTreeMap, net::IpAddr, sync::OnceLock};

/// The records of one name by type, in the order of types; none of the sets is empty. Empty for an empty non-terminal.
/// A list, for a name has three types as a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct RrSets(Box<[(RecordType, Set)]>);

impl RrSets {
    /// Sets of equal records.
    pub(crate) fn equal(records: impl IntoIterator<Item = Data>) -> Self {
        let mut records: Vec<Data> = records.into_iter().collect();
        records.sort();
        let of_type = |set: &[Data]| (set[0].record_type(), Set::equal(set.to_vec()));
        Self(records.chunk_by(|a, b| a.record_type() == b.record_type()).map(of_type).collect())
    }

    pub(crate) fn get(&self, record_type: RecordType) -> Option<&Set> {
        self.0.iter().find(|(of_type, _)| *of_type == record_type).map(|(_, set)| set)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Set> {
        self.0.iter().map(|(_, set)| set)
    }

    /// The first set alone.
    pub(crate) fn into_first(self) -> Option<Set> {
        self.0.into_iter().next().map(|(_, set)| set)
    }
}

/// An RRset with what is needed to select from it.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// Sorted, each once. Priorities are those of instances on the client's machine; see [`crate::select::Pick`].
    pub(crate) records: Vec<Data>,
    pub(crate) ranking: Ranking,
    /// Most records in an answer, up to [`MAX_RRSET`].
    pub(crate) limit: u8,
    /// What the fast path makes of SRV records, for their first question.
    pub(crate) targets: OnceLock<Targets>,
}

/// What decides which records come first.
#[derive(Clone, Debug)]
pub(crate) enum Ranking {
    /// All are equal.
    Equal,
    /// By weight; of each record that of the instances behind it together.
    Weighted(Weights),
    /// By distance from the client: where the instances behind each record run. More than one for a record that
    /// several instances have in common.
    Near(Vec<(u32, Spot)>),
}

/// Records on their way to be sets, each with the instance behind it.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a>(BTreeMap<RecordType, Vec<(Data, &'a Held)>>);

impl<'a> Draft<'a> {
    pub(crate) fn add(&mut self, data: Data, held: &'a Held) {
        self.0.entry(data.record_type()).or_default().push((data, held));
    }

    /// The sets of a service that wants to be answered for like this.
    pub(crate) fn settle(self, dns: ServiceDns, machines: &Machines) -> RrSets {
        let sets = self.0.into_iter().map(|(of_type, records)| (of_type, ranked(records, dns, machines)));
        RrSets(sets.collect())
    }

    /// The first of the sets alone.
    pub(crate) fn settle_first(mut self, dns: ServiceDns, machines: &Machines) -> Option<Set> {
        self.0.pop_first().map(|(_, records)| ranked(records, dns, machines))
    }
}

impl Set {
    /// A set of equal records.
    pub(crate) fn equal(mut records: Vec<Data>) -> Self {
        records.sort();
        records.dedup();
        records.shrink_to_fit();
        Self { records, ranking: Ranking::Equal, limit: MAX_RRSET as u8, targets: OnceLock::new() }
    }
}

/// An RRset is a set (RFC 2181 section 5): two instances on one address are one A record. Texts stand for no
/// instance, so that order and number are not asked of them.
fn ranked(mut records: Vec<(Data, &Held)>, dns: ServiceDns, machines: &Machines) -> Set {
    let of_instances = records.first().is_some_and(|(data, _)| data.record_type() != RecordType::Txt);
    if !of_instances || dns.order == Order::Random && dns.answers.is_none() {
        return Set::equal(records.into_iter().map(|(data, _)| data).collect());
    }
    records.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (mut unique, mut behind): (Vec<Data>, Vec<(u32, &Held)>) = (Vec::new(), Vec::new());
    for (data, held) in records {
        if unique.last() != Some(&data) {
            unique.push(data);
        }
        behind.push((u32::try_from(unique.len() - 1).expect("memory has fewer"), held));
    }
    let ranking = match dns.order {
        Order::Random => Ranking::Equal,
        Order::Weighted => Ranking::weighted(unique.len(), behind),
        Order::Near => {
            Ranking::Near(behind.into_iter().map(|(position, held)| (position, machines.spot(&held.node))).collect())
        }
    };
    unique.shrink_to_fit();
    let limit = dns.answers.map_or(MAX_RRSET as u8, |n| n.get().min(MAX_RRSET as u8));
    Set { records: unique, ranking, limit, targets: OnceLock::new() }
}

impl Ranking {
    /// Weights that are all zero are as good as none.
    fn weighted(len: usize, behind: Vec<(u32, &Held)>) -> Self {
        let mut weights = vec![0; len];
        behind.iter().for_each(|(position, held)| weights[*position as usize] += u64::from(held.weight));
        if weights.iter().all(|w| *w == 0) { Self::Equal } else { Self::Weighted(Weights::new(weights)) }
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address, in A and in the reverse zone.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

pub(crate) fn address(address: IpAddr) -> Data {
    match canonical(address) {
        IpAddr::V4(v4) => Data::A(v4),
        IpAddr::V6(v6) => Data::Aaaa(v6),
    }
}

/// The weight is that of the instance; above zero it makes clients spread over them (RFC 2782). Priorities come with
/// the selection, as they are the client's view.
pub(crate) fn srv(port: u16, weight: u16, target: &Name) -> Data {
    Data::Srv { priority: 0, weight, port, target: target.clone() }
}

/// Character strings hold 255 bytes; a longer text goes into several. At most [`MAX_RRSET`] of them.
pub(crate) fn text<'a>(texts: impl IntoIterator<Item = &'a str>) -> Data {
    let split = texts.into_iter().flat_map(|text| {
        let mut rest = text;
        let mut parts = Vec::new();
        while rest.len() > 255 {
            let cut = (0..=255).rev().find(|i| rest.is_char_boundary(*i)).unwrap_or(0);
            let (part, tail) = rest.split_at(cut);
            parts.push(part.to_owned());
            rest = tail;
        }
        parts.push(rest.to_owned());
        parts
    });
    Data::Txt(split.take(MAX_RRSET).collect())
}
