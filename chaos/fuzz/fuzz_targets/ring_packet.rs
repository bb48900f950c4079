//! Any bytes as a packet of the ring: refused without a change, or taken without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use taffeta_model::{Millis, NodeId};
use taffeta_swim::{Identity, Incarnation, MemberState, Swim, SwimConfig};

fn identity(id: u64) -> Identity {
    let seed = Identity::seed(NodeId(id), ([127, 0, 0, id as u8], 7400).into());
    Identity { incarnation: Incarnation { start: 1, renewal: 0 }, ..seed }
}

fuzz_target!(|packet: &[u8]| {
    // Nobody answers here, and they are to stay.
    let patient = SwimConfig { suspicion: Duration::from_secs(60), ..SwimConfig::lan(3) };
    let mut swim = Swim::new(Millis(0), identity(1), patient, 1).expect("a good config");
    let known = (2..=3).map(|id| (NodeId(id), MemberState::known(identity(id), Millis(0)))).collect();
    swim.begin_with(Millis(0), &known);
    // On to a comparison, so that its answer is looked at.
    (0..=105).for_each(|step| swim.handle_timeout(Millis(100 * step)));
    swim.take_effects();
    let before = swim.members().clone();
    match swim.handle_packet(Millis(10_600), NodeId(2), packet) {
        Ok(()) => {
            for step in 107..125 {
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
