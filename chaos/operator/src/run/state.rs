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
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};

/// Pause between two checks while faults are on.
const EVERY: Duration = Duration::from_millis(500);
/// Most checks that are kept: an hour of them.
const STATES_MAX: usize = 7_200;

/// One check of the hypothesis.
#[derive(Clone, Debug)]
pub struct State {
    /// When, since the start of the run.
    pub at: Duration,
    /// Its probes.
    pub probes: Vec<Looked>,
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

/// Asks for ever, and keeps what was found.
pub(super) async fn check_for_ever(experiment: Experiment, fabric: Fabric, scene: Scene, kept: Arc<Mutex<Vec<State>>>) {
    loop {
        let at = scene.now();
        let Some(state) = check(&experiment, &fabric).await else { return };
        keep(&kept, State { at, ..state });
        sleep(EVERY).await;
    }
}

fn keep(kept: &Mutex<Vec<State>>, state: State) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < STATES_MAX {
        kept.push(state);
    }
}

/// The longest stretch in which a probe did not hold, and when it began; `None` if it always held.
pub(super) fn longest_failure(states: &[State], name: &str) -> Option<(Duration, Duration)> {
    let mut longest: Option<(Duration, Duration)> = None;
    let mut since: Option<Duration> = None;
    let mut note = |from: Duration, to: Duration| {
        let lasted = to - from;
        if longest.is_none_or(|(longest, _)| lasted > longest) {
            longest = Some((lasted, from));
        }
    };
    for state in states {
        let met = state.probes.iter().find(|probe| probe.name == name).is_none_or(|probe| probe.met);
        match (met, since) {
            (false, None) => since = Some(state.at),
            (true, Some(from)) => {
                note(from, state.at);
                since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    if let (Some(from), Some(last)) = (since, states.last()) {
        note(from, last.at);
    }
    longest
}
