use super::*;
use proptest::prelude::*;

const CLUSTER: ClusterId = ClusterId(0xc1);

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

fn id(n: u8) -> NodeId {
    key(n).public().node_id()
}

/// The seals of node `n` in its `start`-th life, with the keys of nodes 1 to 3.
fn seals(n: u8, start: u64) -> Seals {
    seals_in(CLUSTER, n, start, n)
}

fn seals_in(cluster: ClusterId, n: u8, start: u64, seed: u8) -> Seals {
    let mut seals = Seals::new(cluster, &key(n), &[seed; 32], start);
    for peer in 1..=3 {
        seals.set_key(id(peer), key(peer).public()).unwrap();
    }
    seals
}

#[test]
fn a_sealed_packet_opens_at_its_receiver_and_shows_nothing_of_itself() {
    let (mut a, mut b) = (seals(1, 1), seals(2, 1));
    let packet = b"a packet of the ring, in words that are easy to find";
    let datagram = a.seal(id(2), Kind::Packet, packet).unwrap();
    assert_eq!(datagram.len(), packet.len() + 45);
    assert!(!datagram.windows(8).any(|part| packet.windows(8).any(|word| part == word)));
    assert_eq!(b.open(&datagram), Ok((id(1), Kind::Packet, Bytes::from_static(packet))));
    let back = b.seal(id(1), Kind::Packet, b"").unwrap();
    assert_eq!(a.open(&back), Ok((id(2), Kind::Packet, Bytes::new())));
}

#[test]
fn the_secret_of_an_identity_fits_its_public_key() {
    for n in 1..20 {
        let made = curve25519_dalek::MontgomeryPoint::mul_base_clamped(key(n).x25519_secret());
        assert_eq!(key(n).public().x25519(), Some(made));
    }
}

#[test]
fn the_same_packet_looks_different_each_time_and_for_each_receiver() {
    let mut a = seals(1, 1);
    let sealed: Vec<_> =
        [2, 2, 3].map(|to| a.seal(id(to), Kind::Packet, &[7; 100]).unwrap()[HEADER_BYTES..].to_vec()).into();
    assert!(sealed[0] != sealed[1] && sealed[1] != sealed[2] && sealed[0] != sealed[2]);
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_the_datagram_itself_still_opens() {
    let (mut a, mut b) = (seals(1, 1), seals(2, 1));
    let datagram = a.seal(id(2), Kind::Packet, b"packet").unwrap();
    for bit in 0..datagram.len() * 8 {
        let mut altered = datagram.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let refused = match bit / 8 {
            0 if Kind::from_byte(altered[0]).is_some() => Refused::BadSeal,
            0 => Refused::Malformed,
            1..9 => Refused::UnknownSender,
            _ => Refused::BadSeal,
        };
        assert_eq!(b.open(&altered), Err(refused), "bit {bit}");
    }
    for length in 0..datagram.len() {
        let cut = b.open(&datagram[..length]);
        assert!(matches!(cut, Err(Refused::Malformed | Refused::BadSeal)), "{length} bytes: {cut:?}");
    }
    assert!(b.open(&datagram).is_ok());
}

#[test]
fn a_replay_is_refused() {
    let (mut a, mut b) = (seals(1, 1), seals(2, 1));
    let datagrams: Vec<_> = (0..100).map(|n| a.seal(id(2), Kind::Packet, &[n]).unwrap()).collect();
    assert!(b.open(&datagrams[99]).is_ok());
    assert_eq!(b.open(&datagrams[99]), Err(Refused::Replay));
    assert!(b.open(&datagrams[36]).is_ok(), "64 numbers are remembered, so it is known to be new");
    assert_eq!(b.open(&datagrams[35]), Err(Refused::Replay), "nobody knows whether this one was here");
    assert_eq!(b.open(&datagrams[36]), Err(Refused::Replay));
}

#[test]
fn a_newer_session_ends_the_older_one() {
    let (mut first, mut second, mut b) = (seals(1, 1), seals_in(CLUSTER, 1, 2, 9), seals(2, 1));
    let (before, after) =
        (first.seal(id(2), Kind::Packet, b"before").unwrap(), first.seal(id(2), Kind::Packet, b"after").unwrap());
    assert!(b.open(&before).is_ok());
    assert!(b.open(&second.seal(id(2), Kind::Packet, b"hello").unwrap()).is_ok(), "a restarted node is heard at once");
    assert_eq!(b.open(&after), Err(Refused::OldSession));
    assert_eq!(b.open(&before), Err(Refused::OldSession));
    assert!(b.open(&second.seal(id(2), Kind::Packet, b"hello").unwrap()).is_ok());
}

#[test]
fn a_forged_newer_session_does_not_end_the_present_one() {
    let (mut a, mut b) = (seals(1, 1), seals(2, 1));
    assert!(b.open(&a.seal(id(2), Kind::Packet, b"packet").unwrap()).is_ok());
    let mut forged = a.seal(id(2), Kind::Packet, b"packet").unwrap();
    forged[14] = 9; // the start
    assert_eq!(b.open(&forged), Err(Refused::BadSeal));
    let mut ahead = a.seal(id(2), Kind::Packet, b"packet").unwrap();
    ahead[23] = 1; // the counter
    assert_eq!(b.open(&ahead), Err(Refused::BadSeal));
    assert!(b.open(&a.seal(id(2), Kind::Packet, b"packet").unwrap()).is_ok());
}

#[test]
fn a_copy_of_a_node_shares_no_key_with_it_and_is_not_heard_beside_it() {
    let (mut a, mut copy, mut b) = (seals_in(CLUSTER, 1, 5, 1), seals_in(CLUSTER, 1, 5, 99), seals(2, 1));
    let (from_a, from_copy) =
        (a.seal(id(2), Kind::Packet, &[0; 32]).unwrap(), copy.seal(id(2), Kind::Packet, &[0; 32]).unwrap());
    assert_ne!(from_a[HEADER_BYTES..], from_copy[HEADER_BYTES..], "the same number, but another key");
    assert!(b.open(&from_a).is_ok());
    assert_eq!(b.open(&from_copy), Err(Refused::OldSession));
}

#[test]
fn a_raised_start_begins_a_session_that_is_heard() {
    let (mut a, mut b) = (seals(1, 7), seals(2, 1));
    assert!(b.open(&a.seal(id(2), Kind::Packet, b"before the folder was set back").unwrap()).is_ok());
    let mut set_back = seals_in(CLUSTER, 1, 3, 8);
    assert_eq!(b.open(&set_back.seal(id(2), Kind::Packet, b"packet").unwrap()), Err(Refused::OldSession));
    set_back.raise_start(2);
    assert_eq!(b.open(&set_back.seal(id(2), Kind::Packet, b"packet").unwrap()), Err(Refused::OldSession));
    set_back.raise_start(8);
    assert!(b.open(&set_back.seal(id(2), Kind::Packet, b"packet").unwrap()).is_ok());
}

#[test]
fn numbers_go_on_when_a_peer_is_forgotten_and_met_again() {
    let mut a = seals(1, 1);
    let first = Header::read(&a.seal(id(2), Kind::Packet, b"packet").unwrap()).unwrap();
    a.forget(id(2));
    assert_eq!(a.seal(id(2), Kind::Packet, b"packet"), None);
    a.set_key(id(2), key(2).public()).unwrap();
    let second = Header::read(&a.seal(id(2), Kind::Packet, b"packet").unwrap()).unwrap();
    assert_eq!((first.session, first.counter + 1), (second.session, second.counter));
}

#[test]
fn another_cluster_and_another_receiver_are_refused() {
    let (mut foreign, mut a, mut b, mut c) =
        (seals_in(ClusterId(0xc2), 1, 1, 1), seals(1, 1), seals(2, 1), seals(3, 1));
    assert_eq!(b.open(&foreign.seal(id(2), Kind::Packet, b"packet").unwrap()), Err(Refused::BadSeal));
    let for_b = a.seal(id(2), Kind::Packet, b"packet").unwrap();
    assert_eq!(c.open(&for_b), Err(Refused::BadSeal));
    let mut turned = b.seal(id(1), Kind::Packet, b"packet").unwrap();
    turned[1..9].copy_from_slice(&id(1).0.to_be_bytes());
    assert_eq!(b.open(&turned), Err(Refused::BadSeal), "our own datagram, sent back in the peer's name");
}

#[test]
fn a_key_counts_only_for_the_node_whose_id_is_its_hash() {
    let mut a = seals(1, 1);
    assert_eq!(a.set_key(id(4), key(5).public()), Err(KeyRefused::NotTheNodes(id(4))));
    assert_eq!(a.seal(id(4), Kind::Packet, b"packet"), None);
    let mut four = Seals::new(CLUSTER, &key(4), &[4; 32], 1);
    four.set_key(id(1), key(1).public()).unwrap();
    assert_eq!(a.open(&four.seal(id(1), Kind::Packet, b"packet").unwrap()), Err(Refused::UnknownSender));
    a.set_key(id(1), key(1).public()).unwrap();
    assert_eq!(a.seal(id(1), Kind::Packet, b"packet"), None, "nobody sends to themselves");
}

#[test]
fn a_key_of_small_order_gives_no_secret() {
    let mut a = seals(1, 1);
    for bytes in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
        let weak = PublicKey(bytes);
        a.set_key(weak.node_id(), weak).unwrap();
        assert_eq!(a.seal(weak.node_id(), Kind::Packet, b"packet"), None);
    }
}

#[test]
fn no_more_keys_are_held_than_a_cluster_has_members() {
    let mut a = Seals::new(CLUSTER, &key(1), &[1; 32], 1);
    let keys = (0..=MEMBERS_MAX as u64).map(|n| PublicKey(std::array::from_fn(|i| n.to_le_bytes()[i % 8])));
    let taken: Vec<_> = keys.map(|key| a.set_key(key.node_id(), key)).collect();
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), MEMBERS_MAX);
    assert_eq!(taken.last(), Some(&Err(KeyRefused::TooMany)));
}

#[test]
fn the_largest_packet_is_sealed_and_a_larger_datagram_is_not_looked_at() {
    let (mut a, mut b) = (seals(1, 1), seals(2, 1));
    assert_eq!(a.seal(id(2), Kind::Packet, &[0; DATAGRAM_BYTES_MAX + 1]), None);
    let mut largest = a.seal(id(2), Kind::Packet, &[0; DATAGRAM_BYTES_MAX]).unwrap();
    assert_eq!(largest.len(), SEALED_BYTES_MAX);
    assert!(b.open(&largest).is_ok());
    largest.push(0);
    assert_eq!(b.open(&largest), Err(Refused::Oversized));
}

proptest! {
    #[test]
    fn a_header_is_read_as_it_was_written(
        kind in prop::sample::select(&Kind::ALL[..]), sender: u64, start in 0..=COUNTER_MAX, random: [u8; 8], counter in 0..=COUNTER_MAX, sealed in 16_usize..1_136,
    ) {
        let header = Header { kind, sender: NodeId(sender), session: Session { start, random }, counter };
        let mut datagram = header.write().to_vec();
        datagram.resize(HEADER_BYTES + sealed, 0);
        prop_assert_eq!(Header::read(&datagram), Ok(header));
    }

    #[test]
    fn garbage_gives_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..1_300), known: bool) {
        let mut b = seals(2, 1);
        if known && bytes.len() >= HEADER_BYTES {
            bytes[0] = Kind::ALL[usize::from(bytes[0]) % 3].byte();
            bytes[1..9].copy_from_slice(&id(1).0.to_be_bytes());
        }
        prop_assert!(b.open(&bytes).is_err());
    }
}
