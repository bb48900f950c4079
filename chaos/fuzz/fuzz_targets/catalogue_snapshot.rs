//! Any bytes as a chunk of a snapshot, whose signatures all count as good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taffeta_catalogue::{Spread, Verify, decode_chunk};
use taffeta_model::NodeId;

struct Credulous;

impl Verify for Credulous {
    fn verify(&self, _owner: NodeId, _key: &[u8; 32], _message: &[u8], _signature: &[u8; 64]) -> bool {
        true
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(sets) = decode_chunk(bytes) else { return };
    let mut spread = Spread::new(NodeId(1), 1, 7);
    spread.handle_snapshot(NodeId(2), sets, &Credulous, &|_| true);
    drop(spread.take_effects());
});
