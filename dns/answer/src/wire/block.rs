//! The common records of a service in one piece of memory.
//!
//! In a large zone the time of a reply is that of the memory it touches for the first time in a while. So what is asked
//! for most lies together: a service's name, its addresses, and its SRV records with their targets' addresses, where
//! they are few and equal. All else is found by the zone.

use crate::{
    Data, Name, RecordType,
    machines::Machines,
    service::ServiceEntry,
    sets::{Ranking, RrSets, Set, canonical},
};
use std::{collections::BTreeMap, net::IpAddr};

/// Most records of a set that is held here. More SRV records would not fit into a datagram, nor addresses, unless only
/// some are given.
const SRV_MAX: usize = 48;
const ADDRESSES_MAX: usize = 128;
/// What a processor fetches at once, and how much of a block a reply uses as a rule.
const CACHE_LINE: usize = 64;
const LINES: usize = 4;
/// Before the data of an SRV record: its target's address, with its family first.
const ADDRESS: usize = 17;

/// A name, and after it sections: kind, label of the port with its length, limit, number of records, bytes of one, and
/// the records.
#[derive(Debug)]
pub(crate) struct Block(Box<[u8]>);

/// An RRset of a [`Block`]. May be empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    /// Most records in an answer.
    pub(crate) limit: usize,
    stride: usize,
    records: &'a [u8],
}

/// What kinds of sections there are, as their first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Srv,
}

impl Block {
    /// Of a service. One that is absent now has an empty name, which is nobody's.
    pub(crate) fn of(entry: &ServiceEntry, machines: &Machines) -> Self {
        let mut bytes = Vec::new();
        let name: Vec<&[u8]> = entry.name.labels().take(2).filter(|_| !entry.is_absent).collect();
        bytes.push(name.iter().map(|label| label.len() as u8 + 1).sum());
        for label in &name {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        // What is common is laid out for this alone, and forgotten.
        let layout = entry.lay_out(machines);
        push_addresses(&mut bytes, Kind::A, layout.own.get(RecordType::A));
        push_addresses(&mut bytes, Kind::Aaaa, layout.own.get(RecordType::Aaaa));
        if let Some(addresses) = addresses(entry) {
            let srv = |sets: &RrSets, label: &str, bytes: &mut Vec<u8>| {
                push_srv(bytes, label, sets.get(RecordType::Srv), &addresses);
            };
            srv(&layout.own, "", &mut bytes);
            layout.ports.iter().for_each(|(port, sets)| srv(sets, port, &mut bytes));
        }
        Self(bytes.into())
    }

    /// Whether it is of the service with these labels in wire form.
    #[inline]
    pub(crate) fn is_of(&self, name: &[u8]) -> bool {
        self.0.get(1..=usize::from(self.0[0])) == Some(name)
    }

    /// Reads what a reply would read; gives a number that only makes that happen.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        self.0.iter().step_by(CACHE_LINE).take(LINES).fold(0, |sum, byte| sum ^ byte)
    }

    /// The records of a kind: of a port, or of the service's name if the label is empty. `None` if they are not here.
    #[inline]
    pub(crate) fn section(&self, kind: Kind, label: &[u8]) -> Option<Section<'_>> {
        let mut rest = self.0.get(1 + usize::from(self.0[0])..)?;
        loop {
            let (&[found, len], after) = rest.split_first_chunk()?;
            let (name, after) = after.split_at_checked(len.into())?;
            let (&[limit, count, stride], after) = after.split_first_chunk()?;
            let (limit, stride) = (usize::from(limit), usize::from(stride));
            let (records, after) = after.split_at_checked(usize::from(count) * stride)?;
            if found == kind as u8 && name == label {
                return Some(Section { limit, stride, records });
            }
            rest = after;
        }
    }
}

impl<'a> Section<'a> {
    pub(crate) fn len(&self) -> usize {
        self.records.len() / self.stride
    }

    /// The address at a position.
    #[inline]
    pub(crate) fn record(&self, position: u32) -> &'a [u8] {
        &self.records[position as usize * self.stride..][..self.stride]
    }

    /// Length and data of the SRV record at a position.
    #[inline]
    pub(crate) fn srv(&self, position: u32) -> &'a [u8] {
        let data = &self.record(position)[ADDRESS..];
        &data[..2 + usize::from(u16::from_be_bytes([data[0], data[1]]))]
    }

    /// The address of the target of the SRV record at a position.
    #[inline]
    pub(crate) fn target(&self, position: u32) -> IpAddr {
        let (address, _) = self.record(position).split_first_chunk::<ADDRESS>().expect("as it was written");
        match *address {
            [4, a, b, c, d, ..] => IpAddr::from([a, b, c, d]),
            [_, ref v6 @ ..] => IpAddr::from(*v6),
        }
    }
}

fn push_head(bytes: &mut Vec<u8>, kind: Kind, label: &str, set: Option<&Set>, stride: usize) {
    let (limit, count) = set.map_or((1, 0), |set| (set.limit, set.records.len() as u8));
    bytes.extend_from_slice(&[kind as u8, label.len() as u8]);
    bytes.extend_from_slice(label.as_bytes());
    bytes.extend_from_slice(&[limit, count, stride as u8]);
}

/// Whether a set may be held here; one that is not there is empty.
fn is_common(set: Option<&Set>, max: usize) -> bool {
    set.is_none_or(|set| matches!(set.ranking, Ranking::Equal) && set.records.len() <= max)
}

fn push_addresses(bytes: &mut Vec<u8>, kind: Kind, set: Option<&Set>) {
    if !is_common(set, ADDRESSES_MAX) {
        return;
    }
    push_head(bytes, kind, "", set, if kind == Kind::A { 4 } else { 16 });
    for data in set.iter().flat_map(|set| &set.records) {
        match data {
            Data::A(v4) => bytes.extend_from_slice(&v4.octets()),
            Data::Aaaa(v6) => bytes.extend_from_slice(&v6.octets()),
            Data::Srv { .. }
            | Data::Txt(_)
            | Data::Https(_)
            | Data::Svcb(_)
            | Data::Ptr(_)
            | Data::Ns(_)
            | Data::Soa { .. } => unreachable!("a set of addresses"),
        }
    }
}

/// Leaves a set out that is not common, or has targets twice: then their addresses are not one for each record.
fn push_srv(bytes: &mut Vec<u8>, label: &str, set: Option<&Set>, addresses: &BTreeMap<&Name, IpAddr>) {
    let mut records = Vec::new();
    let mut targets: Vec<&Name> = Vec::new();
    for data in set.iter().filter(|_| is_common(set, SRV_MAX)).flat_map(|set| &set.records) {
        let Data::Srv { priority, weight, port, target } = data else { return };
        let Some(address) = addresses.get(target).filter(|_| !targets.contains(&target)) else { return };
        targets.push(target);
        records.push(record(*address, [*priority, *weight, *port], target));
    }
    let stride = records.iter().map(Vec::len).max().unwrap_or(1);
    if is_common(set, SRV_MAX) && stride <= usize::from(u8::MAX) {
        push_head(bytes, Kind::Srv, label, set, stride);
        for mut record in records {
            record.resize(stride, 0);
            bytes.append(&mut record);
        }
    }
}

/// Address of the target, length, and data, whose name is never compressed (RFC 2782, RFC 3597 section 4).
fn record(address: IpAddr, numbers: [u16; 3], target: &Name) -> Vec<u8> {
    let mut record = vec![0; ADDRESS];
    match address {
        IpAddr::V4(v4) => {
            record[0] = 4;
            record[1..5].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            record[0] = 6;
            record[1..].copy_from_slice(&v6.octets());
        }
    }
    let len = 6 + target.wire().len() + 1;
    [len as u16].iter().chain(&numbers).for_each(|number| record.extend_from_slice(&number.to_be_bytes()));
    record.extend_from_slice(target.wire());
    record.push(0);
    record
}

/// The address of every instance by its name; `None` if two share a name, or if there are many.
fn addresses(entry: &ServiceEntry) -> Option<BTreeMap<&Name, IpAddr>> {
    let mut addresses = BTreeMap::new();
    if entry.instances.len() > ADDRESSES_MAX {
        return None;
    }
    for held in &entry.instances {
        let Some(own) = &held.own else { continue };
        if addresses.insert(own, canonical(held.address)).is_some() {
            return None;
        }
    }
    Some(addresses)
}
