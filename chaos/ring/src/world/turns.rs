//! The turns of one moment. They touch one member each, so they are taken on two threads if there are many; what they
//! want is performed afterwards, in the order of the events, which makes the run independent of the threads.

use crate::{
    event::Event,
    node::{Ids, Node, Turn},
};
use std::thread;
use taffeta_model::Millis;

/// Below this a thread costs more than it does.
const PARALLEL_MIN: usize = 64;

/// Which event of the moment it came of, whose turn it is, and what came of it.
type Taken = (usize, u32, Turn);

/// Takes all turns; gives what came of them in the order of the events.
pub(super) fn take(now: Millis, nodes: &mut [Node], ids: &Ids, events: Vec<Event>) -> Vec<(u32, Turn)> {
    if events.len() < PARALLEL_MIN {
        let mut taken = Vec::new();
        take_some(now, nodes, 0, ids, (0..).zip(events), &mut taken);
        return taken.into_iter().map(|(_, at, turn)| (at, turn)).collect();
    }
    take_on_two_threads(now, nodes, ids, events)
}

#[expect(clippy::disallowed_methods, reason = "the threads share nothing, and are joined before time goes on")]
fn take_on_two_threads(now: Millis, nodes: &mut [Node], ids: &Ids, events: Vec<Event>) -> Vec<(u32, Turn)> {
    let half = nodes.len() / 2;
    let (low, high) = nodes.split_at_mut(half);
    let (for_low, for_high): (Vec<_>, Vec<_>) = (0..).zip(events).partition(|(_, event)| (event.at as usize) < half);
    let (mut taken, mut rest) = (Vec::with_capacity(for_low.len() + for_high.len()), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| take_some(now, high, half, ids, for_high.into_iter(), &mut rest));
        take_some(now, low, 0, ids, for_low.into_iter(), &mut taken);
    });
    taken.append(&mut rest);
    taken.sort_by_key(|(number, _, _)| *number); // stable: the turns of one event stay in order
    taken.into_iter().map(|(_, at, turn)| (at, turn)).collect()
}

/// `nodes` begin with the member `first`.
fn take_some(
    now: Millis,
    nodes: &mut [Node],
    first: usize,
    ids: &Ids,
    events: impl Iterator<Item = (usize, Event)>,
    taken: &mut Vec<Taken>,
) {
    let mut turns = Vec::new();
    for (number, Event { at, what }) in events {
        nodes[at as usize - first].handle(now, what, ids, &mut turns);
        taken.extend(turns.drain(..).map(|turn| (number, at, turn)));
    }
}
