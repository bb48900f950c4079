//! How far one piece of news has come.

use crate::report::Percentiles;
use std::time::Duration;
use taffeta_model::Millis;

/// How far one piece of news has come.
#[derive(Debug)]
pub(super) struct Reach {
    begun: Option<Millis>,
    knowing: usize,
    /// Knowing that make 50 and 99 %.
    wanted: [usize; 2],
    pub(super) reached: [Option<Duration>; 2],
}

/// A part of [`Reach::reached`].
pub(super) const HALF: usize = 0;
/// A part of [`Reach::reached`].
pub(super) const MOST: usize = 1;

impl Reach {
    pub(super) fn new(observers: usize) -> Self {
        let part = |percent: usize| (observers * percent).div_ceil(100);
        Self { begun: None, knowing: 0, wanted: [part(50), part(99)], reached: [None; 2] }
    }

    pub(super) fn begin(&mut self, now: Millis) {
        self.begun = Some(now);
        self.look(now);
    }

    pub(super) fn add(&mut self, now: Millis) {
        self.knowing += 1;
        self.look(now);
    }

    pub(super) fn take_back(&mut self) {
        self.knowing -= 1;
    }

    fn look(&mut self, now: Millis) {
        let Some(begun) = self.begun else { return };
        for (reached, wanted) in self.reached.iter_mut().zip(self.wanted) {
            if reached.is_none() && self.knowing >= wanted {
                *reached = Some(now.since(begun));
            }
        }
    }
}

/// Until a part had it; `None` if there is none of them, or one did not come so far.
pub(super) fn percentiles<'a>(all: impl Iterator<Item = &'a Reach>, part: usize) -> Option<Percentiles> {
    let times: Option<Vec<Duration>> = all.map(|reach| reach.reached[part]).collect();
    Percentiles::of(times?)
}
