//! The SOA of negative answers.

use super::writer::{Writer, code};
use crate::{Name, Snapshot};

/// Refresh, retry and expire of the SOA, in seconds. Who transfers the zone sees a change by its serial; the numbers
/// only have to be sensible (RFC 1912 section 2.2).
pub const SOA_TIMERS: [u32; 3] = [60, 10, 3600];

const MAILBOX: &[u8] = b"\x0ahostmaster";
/// Serial, refresh, retry, expire and minimum.
const NUMBERS: usize = 20;

/// Writes the SOA of the zone whose name is at an offset. `domain` is where the fabric's is, if it is written already.
/// It lives as long as the answer itself: the smaller of TTL and MINIMUM (RFC 2308 section 3).
pub(crate) fn put_soa(writer: &mut Writer<'_>, snapshot: &Snapshot, zone: usize, domain: Option<usize>) -> Option<()> {
    let end = &snapshot.domain;
    let (server, mailbox) = (before(&snapshot.own_node, end), mailbox(end));
    writer.put_fixed(zone, code::SOA, snapshot.ttl.min(snapshot.negative_ttl))?;
    // The first name writes the domain, if nothing has.
    let whole = end.wire().len() + 1;
    let len = server.len() + domain.map_or(whole, |_| 2) + mailbox.len() + 2 + NUMBERS;
    writer.put((len as u16).to_be_bytes())?;
    let at = writer.at() + server.len();
    writer.put_slice(server)?;
    match domain {
        Some(domain) => writer.put_pointer(domain)?,
        None => {
            writer.put_slice(end.wire())?;
            writer.put([0])?;
        }
    }
    writer.put_slice(mailbox)?;
    writer.put_pointer(domain.unwrap_or(at))?;
    let [refresh, retry, expire] = SOA_TIMERS;
    [snapshot.serial, refresh, retry, expire, snapshot.negative_ttl]
        .iter()
        .try_for_each(|n| writer.put(n.to_be_bytes()))
}

/// The labels of a name in the domain that are before it.
fn before<'a>(name: &'a Name, domain: &Name) -> &'a [u8] {
    &name.wire()[..name.wire().len() - domain.wire().len()]
}

/// As in [`Snapshot::soa`]: where the domain is too long, it is its own mailbox.
fn mailbox(domain: &Name) -> &'static [u8] {
    if domain.has_room_for([MAILBOX.len() - 1]) { MAILBOX } else { b"" }
}
