//! From a question to an answer.

use crate::{
    Answer, Class, Data, Name, Question, Record, RecordType, Snapshot,
    alias::Located,
    counted::Counted,
    sample::SplitMix,
    select::{Pick, Selector, Viewpoint},
    zone::RrSet,
};
use std::net::IpAddr;

/// Answers a question of a client from a snapshot. The client's address says which instances are near to it; without
/// one, or with one that is no machine's, this node's place counts. The seed decides the order of records that are
/// equal, and which of them are given when there are more than may be.
pub fn answer(snapshot: &Snapshot, question: &Question, client: Option<IpAddr>, seed: u64) -> Answer {
    let transfer = matches!(question.record_type, RecordType::Axfr | RecordType::Ixfr);
    if question.class != Class::In || transfer {
        return Answer::Refused;
    }
    let from = Viewpoint { machines: &snapshot.machines, client };
    let mut draw = Draw { snapshot, from, random: SplitMix::new(seed), selector: Selector::default() };
    if let Some(located) = snapshot.locate(&question.name) {
        return in_zone(question, located, &mut draw);
    }
    match question.name.reverse_address().and_then(|a| snapshot.reverse.get(&a)) {
        Some(names) => reverse(question, names, &mut draw),
        None => Answer::NotOurs,
    }
}

/// What takes records out of sets for one answer.
struct Draw<'a> {
    snapshot: &'a Snapshot,
    from: Viewpoint<'a>,
    random: SplitMix,
    selector: Selector,
}

impl Draw<'_> {
    fn given(&mut self, owner: &Name, set: &RrSet<'_>) -> Vec<Record> {
        let record = |pick: &Pick| Record { name: owner.clone(), ttl: self.snapshot.ttl, data: set.at(*pick) };
        self.selector.select(set, self.from, &mut self.random).iter().map(record).collect()
    }
}

fn in_zone(question: &Question, Located { apex, place }: Located<'_>, draw: &mut Draw<'_>) -> Answer {
    let (snapshot, stale) = (draw.snapshot, draw.snapshot.stale);
    if !snapshot.ready {
        return Answer::NotReady;
    }
    let Some(place) = place else {
        return Answer::NxDomain { soa: negative_soa(snapshot, apex), stale };
    };
    let Some(set) = place.rrset(snapshot, question.record_type) else {
        return Answer::NoData { soa: negative_soa(snapshot, apex), stale };
    };
    let records = draw.given(&question.name, &set);
    Answer::Data { additional: additional(&records, draw), records, stale }
}

/// Each address that we know is the apex of a small zone of its own, so that the SOA of its NODATA is an ancestor of
/// the name; the rest of the reverse tree belongs to others.
fn reverse(question: &Question, names: &Counted<Name>, draw: &mut Draw<'_>) -> Answer {
    let snapshot = draw.snapshot;
    if !snapshot.ready {
        return Answer::NotReady;
    }
    let owner = &question.name;
    let one = |data| Record { name: owner.clone(), ttl: snapshot.ttl, data };
    let records = match question.record_type {
        RecordType::Ptr | RecordType::Any => draw.given(owner, &RrSet::Pointers(names)),
        RecordType::Soa => vec![one(snapshot.soa())],
        RecordType::Ns => vec![one(Data::Ns(snapshot.own_node.clone()))],
        RecordType::A
        | RecordType::Aaaa
        | RecordType::Srv
        | RecordType::Txt
        | RecordType::Https
        | RecordType::Svcb
        | RecordType::Axfr
        | RecordType::Ixfr
        | RecordType::Other(_) => {
            return Answer::NoData { soa: negative_soa(snapshot, owner), stale: snapshot.stale };
        }
    };
    Answer::Data { additional: Vec::new(), records, stale: snapshot.stale }
}

/// Addresses of every target, so that the client need not ask again (RFC 2782, RFC 9460 section 4.1).
fn additional(records: &[Record], draw: &mut Draw<'_>) -> Vec<Record> {
    let mut targets: Vec<&Name> = Vec::new();
    for target in records.iter().filter_map(|record| record.data.target()) {
        // At most MAX_RRSET targets, as a rule all different: a linear search is cheaper than a set.
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let mut more = Vec::new();
    for target in targets {
        let Some(place) = draw.snapshot.find(target) else { continue };
        for record_type in [RecordType::A, RecordType::Aaaa] {
            if let Some(set) = place.rrset(draw.snapshot, record_type) {
                more.extend(draw.given(target, &set));
            }
        }
    }
    more
}

/// The SOA of a negative answer lives as long as the answer itself: the smaller of TTL and MINIMUM (RFC 2308 section 3).
fn negative_soa(snapshot: &Snapshot, zone: &Name) -> Record {
    Record { name: zone.clone(), ttl: snapshot.ttl.min(snapshot.negative_ttl), data: snapshot.soa() }
}
