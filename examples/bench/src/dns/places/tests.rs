use super::{IN_FLIGHT, Places};
use crate::dns::{queries::Queries, tally::Tally};
use std::time::Instant;

/// A reply to the first question, with an id.
fn reply(id: u16) -> Vec<u8> {
    let mut reply = Queries::addresses(1).packets[0].clone();
    reply[..2].copy_from_slice(&id.to_be_bytes());
    reply[2] = 0x85;
    reply[7] = 2;
    reply
}

fn count(places: &mut Places, packet: &[u8]) -> (u64, u64) {
    let mut tally = Tally::default();
    places.count(packet, Instant::now(), &Queries::addresses(1), &mut tally);
    (tally.answered, tally.wrong)
}

#[test]
fn a_reply_counts_once_and_only_with_the_id_of_a_question_in_flight() {
    let mut places = Places::default();
    let ids = places.free_ids(2);
    places.sent(&ids);
    assert_eq!(count(&mut places, &reply(ids[1])), (1, 0));
    assert_eq!(count(&mut places, &reply(ids[1])), (0, 1));
    let old = ids[0].wrapping_sub(IN_FLIGHT as u16);
    assert_eq!(count(&mut places, &reply(old)), (0, 1));
    assert_eq!(places.taken(), 1);
}

#[test]
fn a_reply_of_another_kind_is_wrong() {
    let mut places = Places::default();
    let ids = places.free_ids(IN_FLIGHT);
    places.sent(&ids);
    let mut servfail = reply(ids[0]);
    servfail[3] |= 2;
    assert_eq!(count(&mut places, &servfail), (0, 1));
    let mut cut = reply(ids[1]);
    cut[2] |= 2;
    assert_eq!(count(&mut places, &cut), (0, 1));
    assert_eq!(count(&mut places, &reply(ids[2])[..7]), (0, 1));
}

#[test]
fn no_more_are_in_flight_than_places() {
    let mut places = Places::default();
    let ids = places.free_ids(IN_FLIGHT + 1);
    assert_eq!(ids.len(), IN_FLIGHT);
    places.sent(&ids);
    assert!(places.free_ids(1).is_empty());
}

#[test]
fn a_reply_of_an_older_snapshot_after_a_newer_one_is_seen() {
    let (queries, mut places, mut tally) = (Queries::counter(), Places::default(), Tally::default());
    for (number, reordered) in [(0x0001_0203, 0), (0x0001_0203, 0), (0x0001_0202, 1), (0x0001_0204, 1)] {
        let ids = places.free_ids(1);
        places.sent(&ids);
        places.count(&counting_reply(ids[0], number), Instant::now(), &queries, &mut tally);
        assert_eq!((tally.reordered, tally.wrong), (reordered, 0));
    }
}

/// Two addresses of the service that counts.
fn counting_reply(id: u16, number: u32) -> Vec<u8> {
    let mut reply = Queries::counter().packets[0].clone();
    reply.truncate(reply.len() - 11);
    reply[..8].copy_from_slice(&[0, 0, 0x85, 0, 0, 1, 0, 2]);
    reply[..2].copy_from_slice(&id.to_be_bytes());
    for network in [20, 21] {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, network]);
        reply.extend_from_slice(&number.to_be_bytes()[1..]);
    }
    reply
}
