//! Records of each type. `None` where one does not fit.

use super::{
    block::Section,
    query::HEADER,
    targets::{BEFORE_TARGET, Targets},
    writer::{Writer, code},
};
use crate::{Data, MAX_RRSET, Name, Snapshot, counted::Counted, select::Pick, sets::Set};
use std::net::IpAddr;

/// Owner, type, class, TTL and length.
const FIXED: usize = 12;

/// Addresses or texts, owned by the question's name.
#[inline]
pub(crate) fn put_records(writer: &mut Writer<'_>, ttl: u32, set: &Set, picks: &[Pick]) -> Option<()> {
    for pick in picks {
        match &set.records[pick.position as usize] {
            Data::A(address) => put_address(writer, HEADER, ttl, (*address).into())?,
            Data::Aaaa(address) => put_address(writer, HEADER, ttl, (*address).into())?,
            Data::Txt(strings) => put_text(writer, ttl, strings)?,
            // A set is of one type, and its first record was an address or a text.
            Data::Srv { .. } | Data::Https(_) | Data::Svcb(_) | Data::Ptr(_) | Data::Ns(_) | Data::Soa { .. } => {
                return None;
            }
        }
    }
    Some(())
}

#[inline]
fn put_address(writer: &mut Writer<'_>, owner: usize, ttl: u32, address: IpAddr) -> Option<()> {
    match address {
        IpAddr::V4(v4) => {
            writer.put_fixed(owner, code::A, ttl)?;
            let [a, b, c, d] = v4.octets();
            writer.put([0, 4, a, b, c, d])
        }
        IpAddr::V6(v6) => {
            writer.put_fixed(owner, code::AAAA, ttl)?;
            writer.put([0, 16])?;
            writer.put(v6.octets())
        }
    }
}

fn put_text(writer: &mut Writer<'_>, ttl: u32, strings: &[String]) -> Option<()> {
    writer.put_fixed(HEADER, code::TXT, ttl)?;
    let len = u16::try_from(strings.iter().map(|s| s.len() + 1).sum::<usize>()).ok()?;
    writer.put(len.to_be_bytes())?;
    for string in strings {
        writer.put([u8::try_from(string.len()).ok()?])?;
        writer.put_slice(string.as_bytes())?;
    }
    Some(())
}

/// SRV records and the address of every target while there is room; gives the number of those. Outer `None` if the set
/// is not for the fast path.
#[inline]
pub(crate) fn put_services(
    writer: &mut Writer<'_>,
    snapshot: &Snapshot,
    set: &Set,
    picks: &[Pick],
) -> Option<Option<u16>> {
    let Some(Data::Srv { target, .. }) = set.records.first() else { return None };
    // Targets are one label longer than their service's name: what cannot fit need not be laid out.
    let shortest = FIXED + BEFORE_TARGET - 2 + snapshot.domain.wire().len() + 1;
    debug_assert!(target.wire().len() >= snapshot.domain.wire().len());
    if picks.len() * shortest > writer.room() {
        return Some(None);
    }
    let targets = set.targets.get_or_init(|| Targets::of(snapshot, set));
    if !targets.is_plain() {
        return None;
    }
    let mut names = [0; MAX_RRSET];
    if put_targets(writer, snapshot.ttl, targets, picks, &mut names).is_none() {
        return Some(None);
    }
    let addresses = picks.iter().map(|pick| targets.address(pick.position));
    Some(Some(put_additional(writer, snapshot.ttl, names.into_iter().zip(addresses))))
}

#[inline]
fn put_targets(
    writer: &mut Writer<'_>,
    ttl: u32,
    targets: &Targets,
    picks: &[Pick],
    names: &mut [u16; MAX_RRSET],
) -> Option<()> {
    for (pick, name) in picks.iter().zip(names) {
        writer.put_fixed(HEADER, code::SRV, ttl)?;
        let at = writer.at();
        writer.put_slice(targets.bytes(pick.position))?;
        if pick.step > 0 {
            writer.add_to_number(at + 2, pick.step);
        }
        *name = (at + BEFORE_TARGET) as u16;
    }
    Some(())
}

/// Addresses of a block; gives the number of additional records, which is none.
#[inline]
pub(crate) fn put_section(
    writer: &mut Writer<'_>,
    record_type: u16,
    ttl: u32,
    section: Section<'_>,
    positions: &[u32],
) -> Option<u16> {
    for position in positions {
        let data = section.record(*position);
        writer.put_fixed(HEADER, record_type, ttl)?;
        writer.put([0, data.len() as u8])?;
        match data.first_chunk::<4>().filter(|_| data.len() == 4) {
            Some(v4) => writer.put(*v4)?,
            None => writer.put_slice(data)?,
        }
    }
    Some(0)
}

/// SRV records of a block and the address of every target while there is room; gives the number of those.
#[inline]
pub(crate) fn put_srv_section(
    writer: &mut Writer<'_>,
    ttl: u32,
    section: Section<'_>,
    positions: &[u32],
) -> Option<u16> {
    let mut names = [0; MAX_RRSET];
    for (position, name) in positions.iter().zip(&mut names) {
        writer.put_fixed(HEADER, code::SRV, ttl)?;
        *name = (writer.at() + BEFORE_TARGET) as u16;
        writer.put_slice(section.srv(*position))?;
    }
    let targets = positions.iter().map(|position| section.target(*position));
    Some(put_additional(writer, ttl, names.into_iter().zip(targets)))
}

/// The addresses of names that are written at offsets, while there is room: RRsets that do not fit go without a word
/// (RFC 2181 section 9). Gives their number.
#[inline]
fn put_additional(writer: &mut Writer<'_>, ttl: u32, targets: impl Iterator<Item = (u16, IpAddr)>) -> u16 {
    let mut count = 0;
    for (name, address) in targets {
        let before = writer.at();
        if put_address(writer, name.into(), ttl, address).is_none() {
            writer.back_to(before);
            break;
        }
        count += 1;
    }
    count
}

/// PTR records. The first writes the domain, and the others point to it.
pub(crate) fn put_pointers(
    writer: &mut Writer<'_>,
    snapshot: &Snapshot,
    names: &Counted<Name>,
    picks: &[Pick],
) -> Option<()> {
    let domain = snapshot.domain.wire();
    let mut written = None;
    for pick in picks {
        let name = names.at(pick.position as usize).wire();
        let own = &name[..name.len() - domain.len()];
        writer.put_fixed(HEADER, code::PTR, snapshot.ttl)?;
        match written {
            Some(at) => {
                writer.put(((own.len() + 2) as u16).to_be_bytes())?;
                writer.put_slice(own)?;
                writer.put_pointer(at)?;
            }
            None => {
                writer.put(((name.len() + 1) as u16).to_be_bytes())?;
                written = Some(writer.at() + own.len());
                writer.put_slice(name)?;
                writer.put([0])?;
            }
        }
    }
    Some(())
}
