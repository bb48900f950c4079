//! Any bytes as a message of the catalogue, whose signatures all count as good: what a faulty owner could send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taffeta_catalogue::{Spread, Verify, decode, encode};
use taffeta_model::{Millis, NodeId};

struct Credulous;

impl Verify for Credulous {
    fn verify(&self, _owner: NodeId, _key: &[u8; 32], _message: &[u8], _signature: &[u8; 64]) -> bool {
        true
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = decode(bytes) else { return };
    let again = decode(&encode(&message)).expect("what was encoded can be decoded");
    assert_eq!(message, again);
    let mut spread = Spread::new(NodeId(1), 1, 7);
    let peers: Vec<NodeId> = (2..20).map(NodeId).collect();
    spread.set_peers(Millis(0), &peers);
    spread.handle(Millis(5), NodeId(2), message, &Credulous, &|id| id.0 < 1_000);
    for step in 1..40 {
        spread.handle_timeout(Millis(250 * step));
        drop(spread.take_effects());
    }
});
