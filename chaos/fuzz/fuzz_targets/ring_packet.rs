//! Any bytes as a packet of the ring: refused without a change, or taken without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taffeta_model::{Millis, NodeId};
use taffeta_swim::{Identity, Incarnation, Swim, SwimConfig};

fn identity(id: u64) -> Identity {
    let seed = Identity::seed(NodeId(id), ([127, 0, 0, id as u8], 7400).into());
    Identity { incarnation: Incarnation { start: 1, renewal: 0 }, ..seed }
}

fuzz_target!(|packet: &[u8]| {
    let mut swim = Swim::new(Millis(0), identity(1), SwimConfig::lan(3), 1).expect("a preset");
    swim.join(Millis(0), &[identity(2), identity(3)]);
    swim.take_effects();
    let before = swim.members().clone();
    match swim.handle_packet(Millis(10), NodeId(2), packet) {
        Ok(()) => {
            for step in 2..20 {
                swim.handle_timeout(Millis(100 * step));
                swim.take_effects();
            }
        }
        Err(_) => {
            assert!(swim.members().ptr_eq(&before), "a refused packet changed the members");
            assert!(swim.take_effects().is_empty(), "a refused packet had effects");
        }
    }
});
