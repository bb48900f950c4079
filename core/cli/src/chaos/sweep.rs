//! Many seeds: one process of this very binary for each, so that none can take others along.

mod child;
mod tally;

use super::{args::Seeds, scenario::Scenario};
use crate::{
    end::End,
    failure::{Failure, Outcome},
    log,
    output::{Format, print, show},
    progress::Progress,
};
use child::{Ended, simulate};
use std::{num::NonZeroUsize, panic, thread, time::Duration};
use tally::Tally;
use tokio::{
    task::{JoinError, JoinSet},
    time::interval,
};

/// Pause between two looks at the clock, for whoever watches.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A child that takes longer than this, and twice its virtual time, hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(scenario: Scenario, seeds: Seeds, jobs: Option<NonZeroUsize>, format: Format) -> Outcome {
    log::wanted()?; // so that a wrong filter is told once
    let failed = |e| Failure::failed(format!("the runtime cannot start: {e}"));
    // One thread, since a child dies with the very thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let jobs = jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let sweep = Sweep { scenario, seeds, jobs };
    if format == Format::Table {
        print(&format!("seeds {seeds}"))?;
    }
    let (tally, interrupted) = runtime.block_on(sweep.live())?;
    drop(runtime);
    let shown = show(format, &tally, Tally::as_text);
    tally.verdict(interrupted).and(shown)
}

/// What is to be done.
struct Sweep {
    scenario: Scenario,
    seeds: Seeds,
    jobs: usize,
}

impl Sweep {
    /// All seeds, or those until it is interrupted. However this ends, no child is left.
    async fn live(&self) -> Outcome<(Tally, bool)> {
        let mut end = End::listen()?;
        let mut tally = Tally::new(self.seeds, self.scenario.allows_all());
        let mut progress = Progress::start();
        let mut clock = interval(TELL_EVERY);
        let mut waiting = self.seeds.first..=self.seeds.last;
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.jobs
                && let Some(seed) = waiting.next()
            {
                running.spawn(simulate(child::command(&self.scenario, seed), seed, self.patience()));
            }
            tokio::select! {
                ended = running.join_next() => match ended {
                    Some(ended) => self.take(flat(ended)?, &mut tally, &progress),
                    None => return Ok((tally, false)),
                },
                _ = clock.tick() => progress.hint(&tally.so_far()),
                () = end.wait() => {
                    running.shutdown().await; // a child that is dropped is killed
                    return Ok((tally, true));
                }
            }
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE + 2 * self.scenario.virtual_max()
    }

    fn take(&self, ended: Ended, tally: &mut Tally, progress: &Progress) {
        if let Some(failed) = tally.record(ended, |seed| self.scenario.repeat(seed)) {
            progress.done(&failed.to_string());
        }
    }
}

fn flat(ended: Result<Outcome<Ended>, JoinError>) -> Outcome<Ended> {
    ended.unwrap_or_else(|e| panic::resume_unwind(e.into_panic()))
}
