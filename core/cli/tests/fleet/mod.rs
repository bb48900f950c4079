//! Power failures of machines with kernels of their own: all at once, under load.
//!
//! `TAFFETA_FLEET_ROUNDS` sets how many.

use crate::support::{Dice, alone, binary, from_environment};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use taffeta_harness::{Fleet, within};

const MACHINES: usize = 5;
/// Clients that write all the time. A machine without a kernel of the real one's speed serves some tens of writes a second.
const CLIENTS: u32 = 4;
/// How long it may take until the first of their writes is acknowledged.
const LOAD_MAX: Duration = Duration::from_secs(60);

#[test]
fn all_machines_lose_their_power_under_load_and_nothing_is_lost() {
    let _alone = alone();
    let mut dice = Dice::thrown("power failures");
    let rounds = from_environment("TAFFETA_FLEET_ROUNDS", 3);
    let mut fleet = match Fleet::new(binary(), MACHINES) {
        Ok(fleet) => fleet,
        Err(why) => return eprintln!("SKIPPED: no machines with kernels of their own can be booted here: {why}"),
    };
    fleet.kept_by(crate::KEEPER);
    let start = Instant::now();
    fleet.start();
    println!("all machines had booted and voted after {:.1?}", start.elapsed());
    let recorder = fleet.recorder();
    let mut loose = 0;
    for round in 1..=rounds {
        recorder.settle();
        let before = recorder.history().acknowledged();
        recorder.under_load(CLIENTS, || {
            within(LOAD_MAX, &format!("there is a load in round {round}"), || {
                if recorder.history().acknowledged() > before { Ok(()) } else { Err(recorder.summary()) }
            });
            sleep(Duration::from_millis(500) + dice.millis_below(1_000));
            fleet.cut_power();
        });
        let start = Instant::now();
        fleet.power_on();
        let booted = start.elapsed();
        recorder.settle();
        println!("round {round}: all machines answer after {booted:.1?}, a write after {:.1?}", start.elapsed());
        recorder.read();
        recorder.check(&format!("round {round}"));
        for kept in fleet.kept() {
            for boot in 1..=round {
                assert!(kept.contains(&format!("synced.{boot}:{boot}\n")), "what was synced is there: {kept}");
            }
            loose += usize::from(!kept.contains(&format!("loose.{round}:{round}\n")));
        }
    }
    println!("{rounds} rounds: {}; {loose} files were lost that were not synced", recorder.summary());
    assert!(loose > 0, "this was no power failure: what was not synced is there each time");
}
