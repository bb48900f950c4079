//! The hypothesis: whether it holds, asked once, until it does, or all the time.

use crate::{
    fabric::Fabric,
    format::{Activity, Experiment, Secrets},
    probe::{find, is_tolerated},
    scene::Scene,
};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};

/// Pause between two checks while faults are on.
const EVERY: Duration = Duration::from_millis(500);
/// Most checks that are kept of all probes together. Of those that show the same, only the first and the last one are.
const STATES_MAX: usize = 7_200;
/// Most bytes of what a probe has found that are kept of a check while faults are on.
const OUTPUT_BYTES_MAX: usize = 4_096;

/// One check of the hypothesis.
#[derive(Clone, Debug)]
pub struct State {
    /// When, since the start of the run.
    pub at: Duration,
    /// Its probes.
    pub probes: Vec<Looked>,
}

/// A time in which a probe did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When it began, since the start of the run.
    pub from: Duration,
    /// How long it lasted.
    pub lasted: Duration,
}

/// One probe of it.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its name.
    pub name: String,
    /// As in the file.
    pub source: Json,
    /// What was found.
    pub output: Json,
    /// Why nothing was found.
    pub error: Option<String>,
    /// Whether it was as it should be.
    pub met: bool,
    /// When it was asked.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
}

impl State {
    fn shows_the_same_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&Looked, &Looked)| a.met == b.met && a.output == b.output && a.error == b.error;
        self.probes.len() == other.probes.len() && self.probes.iter().zip(&other.probes).all(same)
    }

    /// Whether all is as it should be.
    pub fn is_met(&self) -> bool {
        self.probes.iter().all(|probe| probe.met)
    }

    /// Which probe does not hold, and what it found.
    pub fn why(&self) -> Option<String> {
        let probe = self.probes.iter().find(|probe| !probe.met)?;
        Some(match &probe.error {
            Some(error) => format!("`{}` found nothing: {error}", probe.name),
            None => {
                let found: String = probe.output.to_string().chars().take(200).collect();
                format!("`{}` found {found}", probe.name)
            }
        })
    }
}

/// Asks all probes side by side; `None` if there is no hypothesis.
pub(crate) async fn check(experiment: &Experiment, fabric: &Fabric) -> Option<State> {
    let hypothesis = experiment.hypothesis.as_ref()?;
    let mut asked = JoinSet::new();
    for (index, probe) in hypothesis.probes.iter().enumerate() {
        let (probe, secrets, fabric) = (probe.clone(), experiment.secrets.clone(), fabric.clone());
        asked.spawn(async move { (index, look(&probe, &secrets, &fabric).await) });
    }
    let mut probes = asked.join_all().await;
    probes.sort_by_key(|(index, _)| *index);
    Some(State { at: Duration::ZERO, probes: probes.into_iter().map(|(_, looked)| looked).collect() })
}

async fn look(probe: &Activity, secrets: &Secrets, fabric: &Fabric) -> Looked {
    let (start, began) = (Timestamp::now(), Instant::now());
    let found = find(probe, fabric).await;
    let met = match (&found, &probe.tolerance) {
        (Ok(value), Some(tolerance)) => is_tolerated(tolerance, value, fabric).await,
        (Ok(_), None) => true,
        (Err(_), _) => false,
    };
    let (output, error) = match found {
        Ok(output) => (secrets.mask_json(output), None),
        Err(why) => (Json::Null, Some(secrets.mask(&why))),
    };
    Looked {
        name: probe.name.clone(),
        source: probe.source.clone(),
        output,
        error,
        met,
        start,
        duration: began.elapsed(),
    }
}

/// Asks until it holds, or so long.
pub(super) async fn check_until_met(experiment: &Experiment, fabric: &Fabric, limit: Duration) -> Option<State> {
    let until = Instant::now() + limit;
    loop {
        let state = check(experiment, fabric).await?;
        if state.is_met() || Instant::now() >= until {
            return Some(state);
        }
        sleep(EVERY).await;
    }
}

/// What the probes show while faults are on, each for itself: one that is slow keeps no other one waiting. Clones are the
/// same record.
#[derive(Clone)]
pub(super) struct Watched {
    shown: Arc<Mutex<BTreeMap<usize, Shown>>>,
    /// Most checks that are kept of a probe.
    states_max: usize,
}

/// What one probe has shown.
#[derive(Debug, Default)]
struct Shown {
    states: Vec<State>,
    /// Since when it does not hold.
    since: Option<Duration>,
    /// Counted from all checks, whether they are kept or not.
    longest: Option<Stretch>,
}

impl Watched {
    /// Begins to ask all probes of the hypothesis, for ever.
    pub(super) fn start(experiment: &Experiment, fabric: &Fabric, scene: &Scene, watchers: &mut JoinSet<()>) -> Self {
        let probes = experiment.hypothesis.as_ref().map(|hypothesis| hypothesis.probes.as_slice()).unwrap_or_default();
        let watched = Self { shown: Arc::default(), states_max: (STATES_MAX / probes.len().max(1)).max(2) };
        for (index, probe) in probes.iter().enumerate() {
            let (probe, secrets) = (probe.clone(), experiment.secrets.clone());
            watchers.spawn(ask_for_ever(index, probe, secrets, fabric.clone(), scene.clone(), watched.clone()));
        }
        watched
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<usize, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, index: usize, state: State) {
        self.shown().entry(index).or_default().add(state, self.states_max);
    }

    /// The checks in their order, and by probe the longest time in which it did not hold, until this moment.
    pub(super) fn end(&self, now: Duration) -> (Vec<State>, BTreeMap<String, Stretch>) {
        let (mut states, mut failures): (Vec<State>, BTreeMap<String, Stretch>) = (vec![], BTreeMap::new());
        for shown in std::mem::take(&mut *self.shown()).into_values() {
            let name = shown.states.first().and_then(|state| state.probes.first()).map(|probe| probe.name.clone());
            if let (Some(name), Some(longest)) = (name, shown.longest_until(now)) {
                let known = failures.entry(name).or_insert(longest);
                if longest.lasted > known.lasted {
                    *known = longest;
                }
            }
            states.extend(shown.states);
        }
        states.sort_by_key(|state| state.at);
        (states, failures)
    }
}

impl Shown {
    fn add(&mut self, state: State, states_max: usize) {
        match (state.is_met(), self.since) {
            (false, None) => self.since = Some(state.at),
            (true, Some(_)) => {
                self.longest = self.longest_until(state.at);
                self.since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
        let repeats = matches!(self.states.as_slice(), [.., before, last]
            if before.shows_the_same_as(&state) && last.shows_the_same_as(&state));
        if repeats {
            self.states.pop();
        }
        if self.states.len() < states_max {
            self.states.push(state);
        }
    }

    /// The longest time in which it did not hold, if what does not hold now does not until this moment.
    fn longest_until(&self, now: Duration) -> Option<Stretch> {
        let open = self.since.map(|from| Stretch { from, lasted: now.saturating_sub(from) });
        match (self.longest, open) {
            (Some(longest), Some(open)) if open.lasted <= longest.lasted => Some(longest),
            (longest, open) => open.or(longest),
        }
    }
}

async fn ask_for_ever(index: usize, probe: Activity, secrets: Secrets, fabric: Fabric, scene: Scene, watched: Watched) {
    loop {
        let at = scene.now();
        let looked = look(&probe, &secrets, &fabric).await;
        watched.add(index, State { at, probes: vec![Looked { output: cut(looked.output), ..looked }] });
        sleep(EVERY).await;
    }
}

/// The beginning of what is long, as text.
fn cut(output: Json) -> Json {
    let text = output.to_string();
    if text.len() <= OUTPUT_BYTES_MAX {
        return output;
    }
    let beginning = &text[..text.floor_char_boundary(OUTPUT_BYTES_MAX)];
    Json::String(format!("{beginning}... ({} bytes)", text.len()))
}

#[cfg(test)]
mod tests {
    use super::{Json, Looked, OUTPUT_BYTES_MAX, Shown, State, Stretch, cut};
    use jiff::Timestamp;
    use std::time::Duration;

    /// A check at so many seconds.
    fn state(at: u64, met: bool, output: u64) -> State {
        let looked = Looked {
            name: "p".into(),
            source: Json::Null,
            output: output.into(),
            error: None,
            met,
            start: Timestamp::UNIX_EPOCH,
            duration: Duration::ZERO,
        };
        State { at: Duration::from_secs(at), probes: vec![looked] }
    }

    fn shown(states: &[(u64, bool, u64)], states_max: usize) -> Shown {
        let mut shown = Shown::default();
        states.iter().for_each(|(at, met, output)| shown.add(state(*at, *met, *output), states_max));
        shown
    }

    fn stretch(from: u64, lasted: u64) -> Option<Stretch> {
        Some(Stretch { from: Duration::from_secs(from), lasted: Duration::from_secs(lasted) })
    }

    #[test]
    fn the_longest_failure_lasts_from_its_first_check_to_the_next_that_holds_or_the_end() {
        let end = Duration::from_secs(20);
        assert_eq!(shown(&[(1, true, 1), (2, true, 1)], 9).longest_until(end), None);
        let once = [(1, true, 1), (2, false, 0), (3, false, 0), (5, true, 1), (6, false, 0), (7, true, 1)];
        assert_eq!(shown(&once, 9).longest_until(end), stretch(2, 3));
        let open = [(2, false, 0), (5, true, 1), (8, false, 0)];
        assert_eq!(shown(&open, 9).longest_until(end), stretch(8, 12));
        assert_eq!(shown(&open, 9).longest_until(Duration::from_secs(9)), stretch(2, 3));
        // What is not kept is counted all the same.
        assert_eq!(shown(&open, 2).longest_until(end), stretch(8, 12));
    }

    #[test]
    fn of_checks_that_show_the_same_the_first_and_the_last_are_kept() {
        let all: Vec<(u64, bool, u64)> = (0..100).map(|at| (at, true, u64::from(at >= 50))).collect();
        let kept: Vec<u64> = shown(&all, 9).states.iter().map(|state| state.at.as_secs()).collect();
        assert_eq!(kept, [0, 49, 50, 99]);
    }

    #[test]
    fn of_a_long_output_the_beginning_is_kept() {
        assert_eq!(cut(Json::from(5)), 5);
        let long = cut("ä".repeat(OUTPUT_BYTES_MAX).into());
        let text = long.as_str().unwrap();
        assert!(text.len() < OUTPUT_BYTES_MAX + 30 && text.ends_with("... (8194 bytes)"), "{text}");
    }
}
