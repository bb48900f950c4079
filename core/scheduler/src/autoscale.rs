//! How many instances a service should have, by what they are loaded with.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};
use taffeta_model::{AppName, Autoscale, Command, Job, JobName, Millis, State, TaskId};

/// By how much the load may be off its target before anything is done: a count that fits is not changed for noise.
const TOLERANCE: f64 = 0.1;

/// A service doubles at most in one step, or grows by so many: a metric that is wrong once is no disaster.
const STEP: u32 = 4;

/// What one instance is loaded with, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Processors in use.
    pub cpu: Option<f64>,
    /// Bytes of memory in use, without what the kernel would give back at once.
    pub memory: Option<u64>,
    /// What it says of itself.
    pub metric: Option<f64>,
}

/// Remembers what the loads of services asked for lately. A leader that has just begun knows nothing of that, so it lets a
/// service grow and shrink only after it has watched it for as long as the service says.
#[derive(Clone, Debug, Default)]
pub struct Autoscaler {
    watched: BTreeMap<(AppName, JobName), Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    since: Millis,
    count: u32,
    /// Since when it has this count.
    counted: Millis,
    /// What was needed, the oldest first; only what was never exceeded since.
    needed: VecDeque<(Millis, u32)>,
}

/// What one measure asks for.
#[derive(Clone, Copy, Debug)]
struct Need {
    count: u32,
    measure: &'static str,
    /// On the average of all that are known.
    is: f64,
    target: f64,
}

impl Autoscaler {
    /// Decides what is to be changed now; at most one command for each service. `loads` holds the instances that were
    /// measured lately: one that is missing is taken for idle when the service would grow, and for as loaded as it should
    /// be when it would shrink.
    pub fn decide(&mut self, now: Millis, state: &State, loads: &BTreeMap<TaskId, Load>) -> Vec<Command> {
        let mut watched = std::mem::take(&mut self.watched);
        let mut commands = vec![];
        for (app, deployed) in &state.apps {
            for (job, known) in &deployed.app.jobs {
                let Some(scale) = &known.autoscale else { continue };
                let key = (app.clone(), job.clone());
                let count = known.count;
                let begun = || Watched { since: now, count, counted: now, needed: VecDeque::new() };
                let mut watch = watched.remove(&key).unwrap_or_else(begun);
                let task = |index| TaskId { app: app.clone(), job: job.clone(), index };
                let loads: Vec<Load> = (1..=count).filter_map(|index| loads.get(&task(index)).copied()).collect();
                if let Some((count, reason)) = watch.step(now, scale, known, &loads) {
                    let (app, job) = (app.clone(), job.clone());
                    commands.push(Command::Autoscale { app, job, seen_count: known.count, count, reason });
                }
                self.watched.insert(key, watch);
            }
        }
        commands
    }
}

impl Watched {
    fn step(&mut self, now: Millis, scale: &Autoscale, job: &Job, loads: &[Load]) -> Option<(u32, String)> {
        if self.count != job.count {
            (self.count, self.counted) = (job.count, now);
        }
        let need = need(scale, job, loads)?;
        while self.needed.back().is_some_and(|(_, count)| *count <= need.count) {
            self.needed.pop_back();
        }
        self.needed.push_back((now, need.count));
        while self.needed.front().is_some_and(|(at, _)| now.since(*at) > scale.down_after) {
            self.needed.pop_front();
        }
        if need.count > job.count {
            let grown = need.count.min(job.count.saturating_mul(2).max(job.count.saturating_add(STEP)));
            return (now.since(self.counted) >= scale.up_after).then(|| (grown, need.to_string()));
        }
        let most = self.needed.front().map_or(job.count, |(_, count)| *count);
        let watched = now.since(self.since) >= scale.down_after;
        (watched && most < job.count).then(|| (most, need.to_string()))
    }
}

/// The measure that asks for most, as the others are content with that; `None` if nothing was measured.
fn need(scale: &Autoscale, job: &Job, loads: &[Load]) -> Option<Need> {
    let cpus = job.resources.cpus.0 as f64 / 1000.0;
    let share = |target: u32| f64::from(target) / 1000.0;
    let cpu = scale.cpu.and_then(|target| {
        let used = loads.iter().filter_map(|load| load.cpu).map(|used| used / cpus);
        of_measure("cpu", used, share(target), job.count)
    });
    let memory = scale.memory.and_then(|target| {
        let used = loads.iter().filter_map(|load| load.memory).map(|used| used as f64 / job.resources.memory as f64);
        of_measure("memory", used, share(target), job.count)
    });
    let metric = scale.metric.as_ref().and_then(|metric| {
        let said = loads.iter().filter_map(|load| load.metric);
        of_measure("metric", said, metric.target as f64 / 1000.0, job.count)
    });
    let needs = [cpu, memory, metric].into_iter().flatten();
    let mut most = needs.max_by_key(|need| need.count)?;
    most.count = scale.clamp(most.count);
    Some(most)
}

fn of_measure(measure: &'static str, values: impl Iterator<Item = f64>, target: f64, count: u32) -> Option<Need> {
    let values: Vec<f64> = values.filter(|value| value.is_finite() && *value >= 0.0).collect();
    if values.is_empty() {
        return None;
    }
    let (sum, known) = (values.iter().sum::<f64>(), values.len() as f64);
    let is = sum / known;
    let missing = (f64::from(count) - known).max(0.0);
    let grows = is > target;
    let assumed = if grows { sum } else { sum + missing * target };
    let ratio = assumed / f64::from(count) / target;
    let stays = (ratio - 1.0).abs() <= TOLERANCE || grows != (ratio > 1.0);
    // A float beyond the range becomes the largest number.
    let count = if stays { count } else { (f64::from(count) * ratio).ceil() as u32 };
    Some(Need { count, measure, is, target })
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, is, target, .. } = self;
        let of = if *measure == "metric" { "" } else { " of what is asked for" };
        write!(f, "{measure} is {is:.2}{of} on the average, and should be {target:.2}")
    }
}
