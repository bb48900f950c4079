//! From a packet to its reply.

use super::{
    Asker, DATAGRAM_MAX, DATAGRAM_MIN, Fast, NOT_READY_TEXT, Room, STALE_TEXT,
    block::{Kind, Section},
    index::hash,
    query::{Asked, Below, HEADER},
    records::{put_pointers, put_records, put_section, put_services, put_srv_section},
    soa::put_soa,
    writer::{ExtendedError, Head, Writer, code},
};
use crate::{
    Data, Name, RecordType, Snapshot,
    counted::Counted,
    reverse::reverse_address,
    sample::{SplitMix, sample},
    select::{Selector, Viewpoint},
    sets::Set,
    zone::RrSet,
};

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

const STALE: ExtendedError = ExtendedError { code: 3, text: STALE_TEXT };
const NOT_READY: ExtendedError = ExtendedError { code: 14, text: NOT_READY_TEXT };

/// Replies to common queries. Keeps its room from one to the next: one for each thread.
#[derive(Debug, Default)]
pub struct FastPath {
    selector: Selector,
    positions: Vec<u32>,
}

/// What a reply needs of its question.
struct Task<'a> {
    snapshot: &'a Snapshot,
    asked: &'a Asked<'a>,
    asker: &'a Asker,
    limit: usize,
    random: SplitMix,
}

impl FastPath {
    /// Replies to a common query from a snapshot. The seed decides the order of records as in [`crate::answer`]. The
    /// buffer should have [`DATAGRAM_MAX`] bytes; a smaller one is a smaller limit. Never panics, whatever the bytes.
    pub fn respond(&mut self, snapshot: &Snapshot, packet: &[u8], asker: &Asker, seed: u64, out: &mut [u8]) -> Fast {
        let Some(asked) = Asked::read(packet).filter(|asked| is_data(asked.record_type)) else { return Fast::Unusual };
        let limit = match asker.room {
            Room::Datagram => asked.edns.map_or(DATAGRAM_MIN, |e| e.size).clamp(DATAGRAM_MIN, DATAGRAM_MAX).into(),
            Room::Stream => out.len(),
        };
        let mut task = Task { snapshot, asked: &asked, asker, limit, random: SplitMix::new(seed) };
        self.reply(&mut task, out).map_or(Fast::Unusual, Fast::Reply)
    }

    #[inline]
    fn reply(&mut self, task: &mut Task<'_>, out: &mut [u8]) -> Option<usize> {
        let (snapshot, name) = (task.snapshot, &task.asked.name);
        if snapshot.has_zones_within {
            return None;
        }
        let Some(below) = name.within(snapshot.domain.wire()) else {
            let names = snapshot.reverse.get(&reverse_address(name.wire())?)?;
            return self.pointers(task, names, out);
        };
        if !snapshot.ready {
            return task.not_ready(out);
        }
        let zone = HEADER + below.len;
        if let Some(section) = common(task, &below) {
            return self.section(task, zone, section, out);
        }
        let Some(place) = below.labels().and_then(|labels| snapshot.place(labels)) else {
            return task.negative(NXDOMAIN, zone, Some(zone), out);
        };
        match place.rrset(snapshot, task.asked.record_type.into()) {
            Some(RrSet::List(set)) => self.positive(task, &set, out),
            Some(RrSet::Pointers(_) | RrSet::Kinds(_) | RrSet::Kind(..)) => None,
            None => task.negative(NOERROR, zone, Some(zone), out),
        }
    }

    /// The records of a service that are asked for most.
    #[inline]
    fn section(&mut self, task: &mut Task<'_>, zone: usize, found: Common<'_>, out: &mut [u8]) -> Option<usize> {
        let Some((kind, section)) = found.filter(|(_, section)| section.len() > 0) else {
            return task.negative(NOERROR, zone, Some(zone), out);
        };
        let mut writer = task.writer(out)?;
        sample(section.len(), section.limit, &mut task.random, &mut self.positions);
        let (ttl, count) = (task.snapshot.ttl, self.positions.len() as u16);
        let written = match kind {
            Kind::A => put_section(&mut writer, code::A, ttl, section, &self.positions),
            Kind::Aaaa => put_section(&mut writer, code::AAAA, ttl, section, &self.positions),
            Kind::Srv => put_srv_section(&mut writer, ttl, section, &self.positions),
        };
        Some(match written {
            Some(additional) => writer.finish(task.head(NOERROR, [count, 0, additional])),
            None => task.truncated(writer),
        })
    }

    #[inline]
    fn positive(&mut self, task: &mut Task<'_>, set: &Set, out: &mut [u8]) -> Option<usize> {
        let mut writer = task.writer(out)?;
        let list = RrSet::List(std::borrow::Cow::Borrowed(set));
        let from = Viewpoint { machines: &task.snapshot.machines, client: Some(task.asker.address) };
        let picks = self.selector.select(&list, from, &mut task.random);
        let (ttl, count) = (task.snapshot.ttl, picks.len() as u16);
        let written = match set.records.first()? {
            Data::A(_) | Data::Aaaa(_) | Data::Txt(_) => put_records(&mut writer, ttl, set, picks).map(|()| 0),
            Data::Srv { .. } => put_services(&mut writer, task.snapshot, set, picks)?,
            Data::Https(_) | Data::Svcb(_) | Data::Ptr(_) | Data::Ns(_) | Data::Soa { .. } => return None,
        };
        Some(match written {
            Some(additional) => writer.finish(task.head(NOERROR, [count, 0, additional])),
            None => task.truncated(writer),
        })
    }

    /// Names of an address of ours.
    fn pointers(&mut self, task: &mut Task<'_>, names: &Counted<Name>, out: &mut [u8]) -> Option<usize> {
        if !task.snapshot.ready {
            return task.not_ready(out);
        }
        match RecordType::from(task.asked.record_type) {
            RecordType::Ptr => {}
            RecordType::Soa | RecordType::Ns => return None,
            // The address is a zone of its own.
            _ => return task.negative(NOERROR, HEADER, None, out),
        }
        let from = Viewpoint { machines: &task.snapshot.machines, client: Some(task.asker.address) };
        let picks = self.selector.select(&RrSet::Pointers(names), from, &mut task.random);
        let mut writer = task.writer(out)?;
        put_pointers(&mut writer, task.snapshot, names, picks)?;
        Some(writer.finish(task.head(NOERROR, [picks.len() as u16, 0, 0])))
    }
}

impl<'a> Task<'a> {
    #[inline]
    fn writer<'w>(&self, out: &'w mut [u8]) -> Option<Writer<'w>>
    where
        'a: 'w,
    {
        Writer::new(self.asked, self.limit, self.snapshot.stale.then_some(STALE), out)
    }

    #[inline]
    fn head(&self, rcode: u8, counts: [u16; 3]) -> Head {
        let recursion_available = self.asker.recursion_available;
        Head { rcode, authoritative: true, truncated: false, recursion_available, counts }
    }

    /// SERVFAIL until there is a view.
    fn not_ready(&self, out: &mut [u8]) -> Option<usize> {
        let writer = Writer::new(self.asked, self.limit, Some(NOT_READY), out)?;
        Some(writer.finish(Head { authoritative: false, ..self.head(SERVFAIL, [0; 3]) }))
    }

    /// NXDOMAIN or NODATA with the SOA of the zone whose name is at an offset. `domain` is where the fabric's is, if it
    /// is in the question.
    #[inline]
    fn negative(&self, rcode: u8, zone: usize, domain: Option<usize>, out: &mut [u8]) -> Option<usize> {
        let mut writer = self.writer(out)?;
        put_soa(&mut writer, self.snapshot, zone, domain)?;
        Some(writer.finish(self.head(rcode, [0, 1, 0])))
    }

    /// The answer does not fit: nothing but the question, and the client comes again by TCP.
    fn truncated(&self, mut writer: Writer<'_>) -> usize {
        writer.back_to(self.asked.question_end);
        writer.finish(Head { truncated: true, ..self.head(NOERROR, [0; 3]) })
    }
}

/// A set of a service's block with its kind; `None` for NODATA.
type Common<'a> = Option<(Kind, Section<'a>)>;

/// What is asked for most, if it is that.
#[inline]
fn common<'a>(task: &Task<'a>, below: &Below<'_>) -> Option<Common<'a>> {
    let (port, service, app) = match *below.labels()? {
        [service, app] if app != "node" && app != "_tcp" && app != "_udp" => ("", service, app),
        [port, "_tcp", service, app] => (port.strip_prefix('_').filter(|port| !port.is_empty())?, service, app),
        _ => return None,
    };
    let entry = task.snapshot.index.candidate(hash(app, service))?;
    let block = entry.block(&task.snapshot.machines);
    let name = below.len - (2 + service.len() + app.len());
    if !block.is_of(&task.asked.name.wire()[name..below.len]) {
        return None;
    }
    let kind = match task.asked.record_type {
        code::A => Kind::A,
        code::AAAA => Kind::Aaaa,
        code::SRV => Kind::Srv,
        _ => return None,
    };
    if kind != Kind::Srv && !port.is_empty() {
        // A port has no addresses, if there is such a port.
        return block.section(Kind::Srv, port.as_bytes()).map(|_| None);
    }
    block.section(kind, port.as_bytes()).map(|section| Some((kind, section)))
}

/// Whether a type is one of records, and not one that only questions have (RFC 6895 section 3.1).
fn is_data(record_type: u16) -> bool {
    !matches!(record_type, 0 | 41 | 128..=255)
}
