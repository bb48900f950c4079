//! How messages and snapshots travel, and that nothing a peer sends costs more than it may.

use super::{first_set, merge, merge_update, publish_update};
use crate::{
    CHUNK_BYTES, Catalogue, DecodeError, MESSAGE_BYTES_MAX, Message, ShortHash, Update, decode, decode_chunk, encode,
};
use proptest::prelude::*;
use std::sync::Arc;
use taffeta_model::NodeId;

fn filled(owners: u64) -> Catalogue {
    let mut catalogue = Catalogue::new(NodeId(1), 1);
    for owner in 2..owners + 2 {
        merge(&mut catalogue, &first_set(owner, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).expect("valid");
    }
    catalogue
}

fn messages() -> Vec<Message> {
    let mut owner = Catalogue::new(NodeId(2), 1);
    let whole = publish_update(&mut owner, 2, &[1, 2, 3, 4]).expect("new");
    let delta = publish_update(&mut owner, 2, &[1, 2, 3, 5]).expect("new");
    let heads = vec![owner.get(NodeId(2)).expect("held").head; 3];
    vec![
        Message::Push(vec![whole, delta]),
        Message::Have(heads.clone()),
        Message::Want(vec![NodeId(2), NodeId(u64::MAX)]),
        Message::Prune,
        Message::Summary { hash: u64::MAX, owners: 10_000 },
        Message::Buckets { first: 256, hashes: vec![ShortHash(u32::MAX); 256] },
        Message::Check(vec![(1023, ShortHash(7)); 100]),
        Message::Heads { buckets: vec![1, 2], held: heads.clone(), dropped: heads },
    ]
}

#[test]
fn every_message_survives_the_wire() {
    for message in messages() {
        assert_eq!(decode(&encode(&message)), Ok(message));
    }
}

#[test]
fn a_message_that_was_cut_off_or_has_bytes_behind_it_is_refused() {
    for message in messages() {
        let bytes = encode(&message);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {message:?}");
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(DecodeError::Malformed));
    }
}

#[test]
fn whoever_says_that_much_comes_out_of_little_is_refused_before_memory_is_taken() {
    let bomb = |length: u32, block: &[u8]| [&[1][..], &length.to_le_bytes(), block].concat();
    assert_eq!(decode(&bomb(u32::MAX, &[0; 100])), Err(DecodeError::TooLarge));
    assert_eq!(decode(&bomb(MESSAGE_BYTES_MAX as u32 + 1, &[0; 100_000])), Err(DecodeError::TooLarge));
    assert_eq!(decode(&bomb(MESSAGE_BYTES_MAX as u32, &[0; 100])), Err(DecodeError::Malformed));
    assert_eq!(decode(&vec![0; MESSAGE_BYTES_MAX + 2]), Err(DecodeError::TooLarge));
    assert_eq!(decode(&[]), Err(DecodeError::UnknownFormat));
    assert_eq!(decode(&[9, 3]), Err(DecodeError::UnknownFormat));
}

#[test]
fn a_head_takes_nineteen_bytes_and_a_datagram_of_hashes_fits() {
    let bytes = encode(&messages()[1]);
    assert!(bytes.len() <= 3 + 3 * 19, "{}", bytes.len());
    assert!(encode(&messages()[5]).len() <= 1_100);
}

#[test]
fn a_snapshot_brings_all_that_is_held() {
    let full = filled(300);
    let chunks: Vec<Vec<u8>> = full.snapshot_chunks().collect();
    let plain = full.bytes();
    println!(
        "{} owners: {plain} bytes in {} chunks of {}",
        300,
        chunks.len(),
        chunks.iter().map(Vec::len).sum::<usize>()
    );
    assert!((plain / CHUNK_BYTES..=plain / CHUNK_BYTES + 1).contains(&chunks.len()));
    assert!(chunks.iter().map(Vec::len).sum::<usize>() < plain / 2, "it compresses");
    let mut joiner = Catalogue::new(NodeId(9_999), 1);
    for set in chunks.iter().flat_map(|chunk| decode_chunk(chunk).expect("a chunk")) {
        merge_update(&mut joiner, &Update::from(Arc::new(set))).expect("valid");
    }
    assert_eq!(joiner.sets(), full.sets());
    assert_eq!(Catalogue::new(NodeId(1), 1).snapshot_chunks().count(), 0);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), format in 0..3u8) {
        let behind = [&[format][..], &bytes].concat();
        for bytes in [&bytes, &behind] {
            drop(decode(bytes));
            drop(decode_chunk(bytes));
        }
    }

    #[test]
    fn a_damaged_message_never_panics(at in any::<prop::sample::Index>(), which in 0..8usize, flip in 1..=255u8) {
        let mut bytes = encode(&messages()[which]);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        drop(decode(&bytes));
    }
}
