//! What was seen during a run, as times since its start: faults, the leader, instances, names, requests. Pure data.

use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Most samples that are kept: six hours at four a second. What comes later is not kept.
const SAMPLES_MAX: usize = 100_000;
/// Width of a bar of requests.
const BIN: Duration = Duration::from_millis(250);
/// Most bars: as long as samples are kept.
const BINS_MAX: usize = 100_000;

/// A run, seen from outside.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// The cluster, several times a second.
    pub samples: Vec<Sample>,
    /// The faults, in the order in which they began.
    pub faults: Vec<Span>,
    /// Requests by kind.
    pub requests: BTreeMap<Request, Tally>,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at_s: f64,
    /// Name of the leader; `None` if nobody that was asked knows one with a quorum.
    pub leader: Option<String>,
    /// Whether writes are possible.
    pub quorum: bool,
    /// Instances that serve on machines that are not struck.
    pub serving: usize,
    /// Instances that there are to be.
    pub wanted: usize,
    /// Machines that give right names, of those that are not struck.
    pub right: usize,
    /// Machines that were asked.
    pub asked: usize,
    /// How often what names are to give has changed so far: whenever an instance was seen to come or go.
    pub changes: usize,
}

/// A fault on one machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Its id.
    pub id: String,
    /// Name of the activity.
    pub name: String,
    /// The fault in words.
    pub fault: String,
    /// The machine.
    pub node: String,
    /// What does it.
    pub backend: String,
    /// Seconds since the start.
    pub begun_s: f64,
    /// When it is over at the latest.
    pub due_s: f64,
    /// When it was known to be undone; `None` if that was never confirmed.
    pub undone_s: Option<f64>,
    /// The machines that neither serve nor vote meanwhile: itself, or of a partition the side with fewer voters.
    pub silences: Vec<String>,
    /// Why it could not be undone, if so.
    pub error: Option<String>,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A name, asked of two machines in turn as a resolver does.
    Name,
    /// A page, from an instance that a name has led to.
    Page,
    /// A write to the API.
    Write,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Name => "name",
            Self::Page => "page",
            Self::Write => "write",
        })
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Those that were answered as they should be.
    pub right: u64,
    /// Those that were not.
    pub failed: u64,
    /// Seconds from a first failure to the next success, of each service or writer for itself, all together.
    pub out_s: f64,
    /// The longest of these: no one service or writer had none for longer.
    pub longest_s: f64,
    /// By quarter second: right and failed.
    #[serde(skip)]
    pub bins: Vec<(u32, u32)>,
    /// Since when nothing succeeds, by service or writer.
    #[serde(skip)]
    failing: BTreeMap<String, f64>,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

impl Tally {
    fn was_out(&mut self, seconds: f64) {
        self.out_s += seconds;
        self.longest_s = self.longest_s.max(seconds);
    }
}

impl Timeline {
    pub(crate) fn add_sample(&mut self, sample: Sample) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        }
    }

    /// A request for this service, or of this writer, that ended at this moment.
    pub(crate) fn add_request(&mut self, at: Duration, request: Request, who: &str, outcome: Result<(), String>) {
        let tally = self.requests.entry(request).or_default();
        let (now, bin) = (at.as_secs_f64(), (at.as_millis() / BIN.as_millis()) as usize);
        if bin < BINS_MAX {
            tally.bins.resize(tally.bins.len().max(bin + 1), (0, 0));
        }
        let counted = tally.bins.get_mut(bin);
        match outcome {
            Ok(()) => {
                tally.right += 1;
                counted.into_iter().for_each(|(right, _)| *right += 1);
                if let Some(since) = tally.failing.remove(who) {
                    tally.was_out(now - since);
                }
            }
            Err(why) => {
                tally.failed += 1;
                counted.into_iter().for_each(|(_, failed)| *failed += 1);
                tally.failing.entry(who.to_owned()).or_insert(now);
                tally.last_error = Some(why);
            }
        }
    }

    /// Counts what still fails at the end as failing until then.
    pub(crate) fn end(&mut self, at: Duration) {
        for tally in self.requests.values_mut() {
            for since in std::mem::take(&mut tally.failing).into_values() {
                tally.was_out(at.as_secs_f64() - since);
            }
        }
    }

    /// Moments at which faults began or were undone, in order.
    fn events(&self) -> Vec<f64> {
        let mut events: Vec<f64> = self.faults.iter().flat_map(|f| [Some(f.begun_s), f.undone_s]).flatten().collect();
        events.sort_by(f64::total_cmp);
        events
    }

    /// The times in which something was wrong after a fault had begun; what is wrong at the end is until the end.
    fn wrong_times(&self, wrong: impl Fn(&Sample) -> bool) -> Vec<WrongTime<'_>> {
        let events = self.events();
        let mut times: Vec<WrongTime<'_>> = vec![];
        let (mut is_open, mut right) = (false, None);
        for sample in &self.samples {
            let is_wrong = wrong(sample);
            match times.last_mut().filter(|_| is_open) {
                Some(time) => (time.last, is_open) = (sample, is_wrong),
                None if is_wrong => {
                    if let Some(event) = events.iter().copied().rfind(|event| *event <= sample.at_s) {
                        times.push(WrongTime { event, right, last: sample });
                        is_open = true;
                    }
                }
                None => {}
            }
            right = (!is_wrong).then_some(sample);
        }
        times
    }

    /// The longest time from a fault's beginning or end until what it had put wrong was right again; `None` if nothing
    /// was wrong after a fault had begun. What is wrong at the end counts until the end.
    pub fn settled_s(&self, wrong: impl Fn(&Sample) -> bool) -> Option<f64> {
        self.wrong_times(wrong).iter().map(|time| time.last.at_s - time.event).max_by(f64::total_cmp)
    }

    /// Until the names were right again: from a fault's beginning or end, as [`Self::settled_s`] counts; but names that
    /// had become right, and are overtaken by an instance that comes into service or goes, are late only since they were
    /// right the last time.
    pub fn names_right_s(&self) -> Option<f64> {
        let late = |time: &WrongTime<'_>| {
            let overtaken = time.right.filter(|right| right.changes < time.last.changes);
            time.last.at_s - overtaken.map_or(time.event, |right| right.at_s.max(time.event))
        };
        self.wrong_times(|sample| sample.right < sample.asked).iter().map(late).max_by(f64::total_cmp)
    }

    /// Until all instances served again.
    pub fn full_strength_s(&self) -> Option<f64> {
        self.settled_s(|sample| sample.serving < sample.wanted)
    }

    /// From the first fault on a leader until another one led with a quorum, or the same one after the fault's end; `None`
    /// if none was struck so that another one had to. If none led any more, until the end.
    pub fn new_leader_s(&self) -> Option<f64> {
        let times = self.faults.iter().filter_map(|fault| {
            let before = self.samples.iter().rfind(|sample| sample.at_s <= fault.begun_s)?.leader.clone()?;
            // A leader that is only asked to hand over has not done so as long as it leads.
            let is_asked = fault.fault.starts_with("leader");
            let hands_over = (is_asked || fault.fault.starts_with("disk-full")) && before == fault.node;
            if !(fault.silences.contains(&before) || hands_over) {
                return None;
            }
            let is_over = |sample: &Sample| !is_asked && fault.undone_s.is_some_and(|undone| sample.at_s > undone);
            let leads = |sample: &&Sample| {
                let leader = sample.leader.as_ref().filter(|_| sample.quorum && sample.at_s > fault.begun_s);
                leader.is_some_and(|leader| *leader != before || is_over(sample))
            };
            let until = self.samples.iter().find(leads).or_else(|| self.samples.last())?;
            Some((until.at_s - fault.begun_s).max(0.0))
        });
        times.max_by(f64::total_cmp)
    }
}

/// A time in which something was wrong.
struct WrongTime<'s> {
    /// When the fault before it began or was undone.
    event: f64,
    /// The sample just before it, if that was right.
    right: Option<&'s Sample>,
    /// The first that was right again, or the last of all.
    last: &'s Sample,
}

/// The longer of two times, where there are any.
pub(crate) fn worse(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests;
