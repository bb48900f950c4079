//! Which reply is for which question.

use crate::dns::{queries::Queries, tally::Tally};
use std::time::{Duration, Instant};

/// Questions in flight of one client, and messages of one system call.
pub(crate) const IN_FLIGHT: usize = 32;
/// A question without a reply for so long was lost.
const LOST_AFTER: Duration = Duration::from_millis(250);

/// The questions in flight of one client. The low bits of a question's id are its place among them, so that a reply
/// finds its question at once; the other bits tell it from those that had the place before.
#[derive(Default)]
pub(crate) struct Places {
    places: [Option<InFlight>; IN_FLIGHT],
    round: u16,
    /// The number of the newest change that a reply has shown.
    pub(crate) newest: u32,
}

#[derive(Clone, Copy)]
struct InFlight {
    id: u16,
    sent: Instant,
}

impl Places {
    /// How many questions wait for a reply.
    pub(crate) fn taken(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// Ids for at most so many new questions.
    pub(crate) fn free_ids(&mut self, most: usize) -> Vec<u16> {
        self.round = self.round.wrapping_add(1);
        let free = (0..IN_FLIGHT).filter(|place| self.places[*place].is_none()).take(most);
        free.map(|place| id(self.round, place)).collect()
    }

    /// Notes that questions with these ids are on their way.
    pub(crate) fn sent(&mut self, ids: &[u16]) {
        let sent = Instant::now();
        for id in ids {
            self.places[usize::from(*id) % IN_FLIGHT] = Some(InFlight { id: *id, sent });
        }
    }

    /// Counts a reply that has come.
    pub(crate) fn count(&mut self, reply: &[u8], now: Instant, queries: &Queries, tally: &mut Tally) {
        let Some(asked) = self.take(reply).filter(|_| queries.is_right(reply)) else {
            tally.wrong += 1;
            return;
        };
        tally.answered += 1;
        tally.took_us.push((now - asked.sent).as_secs_f64() * 1e6);
        if let Some(shown) = queries.counted(reply) {
            tally.reordered += u64::from(shown < self.newest);
            self.newest = self.newest.max(shown);
        }
    }

    /// The question that a reply is for.
    fn take(&mut self, reply: &[u8]) -> Option<InFlight> {
        let id = u16::from_be_bytes([*reply.first()?, *reply.get(1)?]);
        self.places[usize::from(id) % IN_FLIGHT].take_if(|asked| asked.id == id)
    }

    /// Gives up on questions that have waited too long.
    pub(crate) fn forget_lost(&mut self, tally: &mut Tally) {
        let now = Instant::now();
        for place in &mut self.places {
            if place.is_some_and(|asked| now - asked.sent > LOST_AFTER) {
                *place = None;
                tally.lost += 1;
            }
        }
    }
}

fn id(round: u16, place: usize) -> u16 {
    const PLACE_BITS: u32 = IN_FLIGHT.trailing_zeros();
    round << PLACE_BITS | u16::try_from(place).expect("few places")
}

#[cfg(test)]
mod tests;
