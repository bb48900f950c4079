//! Which of the last 64 counters have been here (RFC 4303, section 3.4.3).

use super::Refused;

/// Counters behind the highest that may still come: datagrams overtake one another on the way, and numbers are missing
/// that went to other peers.
const WIDTH: u64 = 64;

/// Empty until a counter is marked.
#[derive(Clone, Copy, Default)]
pub(super) struct Window {
    /// One more than the highest counter marked.
    end: u64,
    /// Bit i: counter `end - 1 - i` is marked.
    marked: u64,
}

impl Window {
    /// Whether this counter has not been here, and is not so old that nobody knows.
    pub(super) fn check(&self, counter: u64) -> Result<(), Refused> {
        let Some(behind) = self.end.checked_sub(counter + 1) else { return Ok(()) };
        if behind < WIDTH && self.marked & (1 << behind) == 0 { Ok(()) } else { Err(Refused::Replay) }
    }

    /// Marks a counter that passed the check.
    pub(super) fn mark(&mut self, counter: u64) {
        match self.end.checked_sub(counter + 1) {
            Some(behind) => self.marked |= 1_u64.checked_shl(u32::try_from(behind).unwrap_or(u32::MAX)).unwrap_or(0),
            None => {
                let ahead = u32::try_from(counter + 1 - self.end).unwrap_or(u32::MAX);
                self.marked = self.marked.checked_shl(ahead).unwrap_or(0) | 1;
                self.end = counter + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
