//! From a question to an answer.

use crate::{
    Answer, Class, Data, MAX_RRSET, Name, Question, Record, RecordType, Snapshot,
    counted::Counted,
    sample::{SplitMix, sample},
    zone::RrSet,
};

/// Answers a question from a snapshot. The seed decides the order of records, and which of them are given when there
/// are more than [`MAX_RRSET`].
pub fn answer(snapshot: &Snapshot, question: &Question, seed: u64) -> Answer {
    let transfer = matches!(question.record_type, RecordType::Axfr | RecordType::Ixfr);
    if question.class != Class::In || transfer {
        return Answer::Refused;
    }
    let mut random = SplitMix::new(seed);
    if question.name.is_within(&snapshot.domain) {
        return in_zone(snapshot, question, &mut random);
    }
    match question.name.reverse_address().and_then(|a| snapshot.reverse.get(&a)) {
        Some(names) => reverse(snapshot, question, names, &mut random),
        None => Answer::NotOurs,
    }
}

fn in_zone(snapshot: &Snapshot, question: &Question, random: &mut SplitMix) -> Answer {
    let stale = snapshot.stale;
    if !snapshot.ready {
        return Answer::NotReady;
    }
    let Some(place) = snapshot.find(&question.name) else {
        return Answer::NxDomain { soa: negative_soa(snapshot, &snapshot.domain), stale };
    };
    let Some(set) = place.rrset(snapshot, question.record_type) else {
        return Answer::NoData { soa: negative_soa(snapshot, &snapshot.domain), stale };
    };
    let records = given(snapshot, &question.name, &set, random);
    Answer::Data { additional: additional(snapshot, &records, random), records, stale }
}

/// Each address that we know is the apex of a small zone of its own, so that the SOA of its NODATA is an ancestor of
/// the name; the rest of the reverse tree belongs to others.
fn reverse(snapshot: &Snapshot, question: &Question, names: &Counted<Name>, random: &mut SplitMix) -> Answer {
    if !snapshot.ready {
        return Answer::NotReady;
    }
    let owner = &question.name;
    let one = |data| Record { name: owner.clone(), ttl: snapshot.ttl, data };
    let records = match question.record_type {
        RecordType::Ptr | RecordType::Any => given(snapshot, owner, &RrSet::Pointers(names), random),
        RecordType::Soa => vec![one(snapshot.soa())],
        RecordType::Ns => vec![one(Data::Ns(snapshot.own_node.clone()))],
        RecordType::A
        | RecordType::Aaaa
        | RecordType::Srv
        | RecordType::Txt
        | RecordType::Axfr
        | RecordType::Ixfr
        | RecordType::Other(_) => {
            return Answer::NoData { soa: negative_soa(snapshot, owner), stale: snapshot.stale };
        }
    };
    Answer::Data { additional: Vec::new(), records, stale: snapshot.stale }
}

fn given(snapshot: &Snapshot, owner: &Name, set: &RrSet<'_>, random: &mut SplitMix) -> Vec<Record> {
    let record = |position| Record { name: owner.clone(), ttl: snapshot.ttl, data: set.at(position) };
    sample(set.len(), MAX_RRSET, random).into_iter().map(record).collect()
}

/// Addresses of every SRV and NS target, so that the client need not ask again (RFC 2782).
fn additional(snapshot: &Snapshot, records: &[Record], random: &mut SplitMix) -> Vec<Record> {
    let mut targets: Vec<&Name> = Vec::new();
    for record in records {
        let (Data::Srv { target, .. } | Data::Ns(target)) = &record.data else { continue };
        // At most MAX_RRSET targets, as a rule all different: a linear search is cheaper than a set.
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let mut more = Vec::new();
    for target in targets {
        let Some(place) = snapshot.find(target) else { continue };
        for record_type in [RecordType::A, RecordType::Aaaa] {
            if let Some(set) = place.rrset(snapshot, record_type) {
                more.extend(given(snapshot, target, &set, random));
            }
        }
    }
    more
}

/// The SOA of a negative answer lives as long as the answer itself: the smaller of TTL and MINIMUM (RFC 2308 section 3).
fn negative_soa(snapshot: &Snapshot, zone: &Name) -> Record {
    Record { name: zone.clone(), ttl: snapshot.ttl.min(snapshot.negative_ttl), data: snapshot.soa() }
}
