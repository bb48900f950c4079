//! A client whose service keeps data: it brings newer versions, and lets an instance begin without its data that has waited
//! for it in vain.

use super::{Ending, Question, pause};
use crate::{cluster::Cluster, random::stream};
use rand::{RngExt, rngs::SmallRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{AppName, JobName, Place, State, TaskId, VolumeId, VolumeName};
use taffeta_node::{
    Inspect,
    api::{ApiError, Backend, DeployRequest},
};

/// Its app, its service, how many instances that has, and the name of their volumes.
pub(crate) const KEEP: (&str, &str, u32, &str) = ("keep", "store", 2, "data");

/// Pause between two changes.
const THINKS: Duration = Duration::from_secs(10);

/// Pause before something that must be acknowledged is said again.
const INSISTS: Duration = Duration::from_millis(500);

/// A command that was given up on takes effect within this time or never.
const LATE: Duration = Duration::from_secs(10);

/// A client gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Volumes are there from this version of the protocol on.
const LEVEL: u32 = 2;

/// How often what waits is let begin anew, rather than waited for.
const GIVES_UP: f64 = 0.3;

/// Something that is asked for.
#[derive(Clone, Debug)]
enum Order {
    Deploy(u32),
    Reset(TaskId),
}

/// How far the last deploy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// There will be others.
    NotYet,
    /// It has to be acknowledged.
    Wanted,
    /// It was.
    Acknowledged,
    /// Some machines are of the older version, and may stay so for good.
    Impossible,
}

pub(super) struct Keeper {
    rng: SmallRng,
    next: Duration,
    version: u32,
    asking: Option<(Order, Duration, Question<()>)>,
    last: Last,
}

/// The volume of an instance.
pub(crate) fn volume_of(task: TaskId) -> VolumeId {
    VolumeId { task, name: VolumeName::new(KEEP.3).expect("a label") }
}

impl Keeper {
    pub(super) fn new(seed: u64) -> Self {
        let rng = stream(seed, "keeper");
        Self { rng, next: Duration::ZERO, version: 0, asking: None, last: Last::NotYet }
    }

    /// One more deploy, which has to be acknowledged, and nothing else.
    pub(super) fn settle(&mut self, cluster: &Cluster) {
        self.last = Last::Wanted;
        // What was asked before may still take effect until its time is up, and must not come after the last word.
        self.next = cluster.now() + LATE;
    }

    pub(super) fn is_settled(&self) -> bool {
        match self.last {
            Last::Acknowledged | Last::Impossible => true,
            Last::NotYet | Last::Wanted => false,
        }
    }

    /// Whether its service has to be there in the end.
    pub(super) fn is_wanted(&self) -> bool {
        self.last == Last::Acknowledged
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        if let Some((order, began, question)) = &mut self.asking {
            let (done, how) = match question.ending(cluster) {
                Some(Ending::Done(())) => (true, String::new()),
                Some(Ending::Refused(error)) => (false, format!(": {}", error.message)),
                Some(Ending::Unknown) => (false, ": it is not known whether that was done".into()),
                None if now - *began > PATIENCE => (false, ": no answer".into()),
                None => return,
            };
            let word = if done { "did" } else { "could not" };
            cluster.tell(format!("the keeper {word} {}{how}", describe(order)));
            if done && self.last == Last::Wanted && matches!(order, Order::Deploy(_)) {
                self.last = Last::Acknowledged;
            }
            self.asking = None;
            self.pause(now);
        }
        if now < self.next || self.is_settled() {
            return;
        }
        self.pause(now);
        let Some((level, awaited)) = look(cluster) else { return };
        if level < LEVEL {
            if self.last == Last::Wanted {
                self.last = Last::Impossible;
            }
            return;
        }
        let given_up = awaited.filter(|_| self.last == Last::NotYet && self.rng.random_bool(GIVES_UP));
        let order = match given_up {
            Some(task) => {
                *cluster.resets.entry(task.clone()).or_default() += 1; // it may take effect although nobody says so
                Order::Reset(task)
            }
            None => {
                self.version += 1;
                Order::Deploy(self.version)
            }
        };
        let given = order.clone();
        let question = Question::ask(cluster, &mut self.rng, |backend| perform(backend, given));
        self.asking = question.map(|question| (order, now, question));
    }

    fn pause(&mut self, now: Duration) {
        let thinks = if self.last == Last::NotYet { THINKS } else { INSISTS };
        self.next = self.next.max(now + pause(&mut self.rng, thinks));
    }
}

/// What the leader's state tells: the version that all speak, and an instance that waits although it has data.
fn look(cluster: &Cluster) -> Option<(u32, Option<TaskId>)> {
    let (leader, _) = cluster.led?;
    let (app, job) = (AppName::new(KEEP.0).expect("a label"), JobName::new(KEEP.1).expect("a label"));
    let awaited = |state: &State| {
        let mut waiting =
            state.tasks.of_job(&app, &job).filter(|(_, task)| matches!(task.place, Place::Waiting { .. }));
        waiting.find(|(id, _)| state.volumes.contains_key(&volume_of((*id).clone()))).map(|(id, _)| id.clone())
    };
    cluster.machines[leader].look(|inspect: &Inspect| inspect.state(|state| (state.spoken_level(), awaited(state))))
}

fn describe(order: &Order) -> String {
    let (app, job, count, _) = KEEP;
    match order {
        Order::Deploy(version) => format!("deploy {app}/{job} x {count}, version {version}"),
        Order::Reset(task) => format!("reset the data of {task}"),
    }
}

fn file(version: u32) -> String {
    let (app, job, count, volume) = KEEP;
    format!(
        r#"
app = "{app}"
[service.{job}]
count = {count}
run = ["{job}"]
ports = ["http"]
cpus = 0.1
memory = "16MiB"
grace = "1s"
env = {{ VERSION = "{version}" }}
volume = {{ name = "{volume}", size = "1GiB" }}
"#
    )
}

async fn perform(backend: Arc<dyn Backend>, order: Order) -> Result<(), ApiError> {
    match order {
        Order::Deploy(version) => {
            backend.deploy(DeployRequest { file: file(version), files: BTreeMap::new() }).await.map(drop)
        }
        Order::Reset(task) => backend.reset_volume(task).await,
    }
}
