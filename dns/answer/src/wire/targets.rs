//! SRV records as the bytes of replies, all but owner and TTL, with the addresses of their targets.

use crate::{Data, Name, RecordType, Snapshot, sets::Set, zone::RrSet};
use std::net::IpAddr;

/// Length, priority, weight and port: what is before the target.
pub(crate) const BEFORE_TARGET: usize = 8;

/// An SRV RRset as bytes, by the positions of its records.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    records: Box<[Target]>,
    /// Length and data of every record.
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    start: u32,
    len: u16,
    address: IpAddr,
}

impl Targets {
    /// Of a set; without records if a target has not one address, or is that of two records: the reply is not for the
    /// fast path then.
    pub(crate) fn of(snapshot: &Snapshot, set: &Set) -> Self {
        Self::plain(snapshot, set).unwrap_or_else(|| Self { records: Box::default(), bytes: Box::default() })
    }

    fn plain(snapshot: &Snapshot, set: &Set) -> Option<Self> {
        let (mut records, mut bytes) = (Vec::with_capacity(set.records.len()), Vec::new());
        let mut names: Vec<&Name> = Vec::with_capacity(set.records.len());
        for data in &set.records {
            let Data::Srv { priority, weight, port, target } = data else { return None };
            let (start, len) = (u32::try_from(bytes.len()).ok()?, 6 + target.wire().len() + 1);
            for number in [len as u16, *priority, *weight, *port] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            // Never compressed (RFC 2782, RFC 3597 section 4).
            bytes.extend_from_slice(target.wire());
            bytes.push(0);
            names.push(target);
            records.push(Target { start, len: len as u16 + 2, address: only_address(snapshot, target)? });
        }
        names.sort();
        let distinct = names.windows(2).all(|pair| pair[0] != pair[1]);
        distinct.then(|| Self { records: records.into(), bytes: bytes.into() })
    }

    pub(crate) fn is_plain(&self) -> bool {
        !self.records.is_empty()
    }

    /// Length and data of a record.
    #[inline]
    pub(crate) fn bytes(&self, position: u32) -> &[u8] {
        let target = &self.records[position as usize];
        &self.bytes[target.start as usize..][..usize::from(target.len)]
    }

    /// The address of a record's target.
    #[inline]
    pub(crate) fn address(&self, position: u32) -> IpAddr {
        self.records[position as usize].address
    }
}

/// The address of a target, if it has exactly one.
fn only_address(snapshot: &Snapshot, target: &Name) -> Option<IpAddr> {
    let place = snapshot.find(target)?;
    let sets = [RecordType::A, RecordType::Aaaa].map(|record_type| place.rrset(snapshot, record_type));
    match sets {
        [Some(RrSet::List(one)), None] | [None, Some(RrSet::List(one))] => match one.records[..] {
            [Data::A(v4)] => Some(v4.into()),
            [Data::Aaaa(v6)] => Some(v6.into()),
            _ => None,
        },
        _ => None,
    }
}
