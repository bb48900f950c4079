//! A run: hypothesis, faults, healing, hypothesis again; and whatever happens, everything is undone.
//!
//! [`Runner`] performs activities, [`mend`] watches that what is due is undone, [`state`] checks the hypothesis. The nodes
//! undo every fault at its deadline by themselves: what is done here only makes it sooner, and confirms it.

mod inject;
mod mend;
mod report;
mod state;

pub use report::{Done, Report, Verdict};
pub use state::{Looked, State};

pub(crate) use state::check;

use crate::{
    fabric::Fabric,
    format::{Activity, Experiment, Provider},
    load::{Load, Written},
    plan::{Limits, Plan},
    probe::{find, is_tolerated},
    scene::Scene,
    watch::{look, watch},
};
use jiff::Timestamp;
use mend::Mended;
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_node::api::ApiError;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Background activities that run at once: each is a connection or a process.
const BACKGROUND_MAX: usize = 64;

/// How an experiment is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides what is drawn.
    pub seed: u64,
    /// What a person allows.
    pub limits: Limits,
    /// Every probe of the hypothesis must hold all the time, also while faults are on.
    pub strict: bool,
    /// Let clients ask meanwhile.
    pub load: bool,
    /// Let them write as well.
    pub writing: bool,
}

/// Who is told how it goes.
pub trait Tell {
    /// What is going on now.
    fn doing(&mut self, what: &str);
    /// Something that has happened.
    fn told(&mut self, what: &str);
}

/// 16 hexadecimal digits that nobody had before.
pub(crate) fn fresh_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(Timestamp::now().as_nanosecond()))
}

/// Performs activities. Clones are of the same run.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) fabric: Fabric,
    pub(crate) scene: Scene,
    pub(crate) options: Options,
    /// Name of the run, which its faults carry.
    pub(crate) run: String,
    /// How long after its end a fault may take to be confirmed undone.
    confirm: Duration,
    faults: Arc<Mutex<Faults>>,
    background: Arc<Semaphore>,
}

/// What the run has broken.
#[derive(Default)]
pub(crate) struct Faults {
    /// In the order of their beginning.
    pub(crate) begun: Vec<inject::Begun>,
    /// Who was drawn by which activity: who refers to it strikes the same.
    pub(crate) drawn: BTreeMap<String, Vec<String>>,
}

/// Why a method ends before its end.
#[derive(Clone, Debug)]
pub(crate) struct Abort(pub(crate) String);

impl Runner {
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One activity with its pauses, and what came of it.
    async fn perform(&self, activity: &Activity) -> Result<Done, Abort> {
        sleep(activity.before).await;
        let (start, began) = (Timestamp::now(), self.scene.now());
        let mut done = Done {
            activity: activity.clone(),
            output: Json::Null,
            error: None,
            tolerated: None,
            start,
            duration: Duration::ZERO,
        };
        let mut abort = None;
        match &activity.provider {
            Provider::Strike(strike) => match self.strike(activity, strike).await {
                Ok(output) => done.output = output,
                Err(why) => {
                    done.error = Some(why.0.clone());
                    abort = Some(why);
                }
            },
            Provider::Http(_) | Provider::Process(_) | Provider::Look(_) => match find(activity, &self.fabric).await {
                Ok(output) => {
                    if let Some(tolerance) = &activity.tolerance {
                        done.tolerated = Some(is_tolerated(tolerance, &output, &self.fabric).await);
                    }
                    done.output = output;
                }
                Err(why) => {
                    done.tolerated = activity.tolerance.as_ref().map(|_| false);
                    done.error = Some(why);
                }
            },
        }
        done.duration = self.scene.now() - began;
        match abort {
            Some(abort) => Err(abort),
            None => {
                sleep(activity.after).await;
                Ok(done)
            }
        }
    }

    /// All activities in turn; those in the background are waited for at the end.
    async fn perform_all(
        &self,
        activities: &[Activity],
        done: &mut Vec<Done>,
        tell: &mut dyn Tell,
    ) -> Result<(), Abort> {
        let mut background: JoinSet<Result<Done, Abort>> = JoinSet::new();
        for activity in activities {
            tell.doing(&activity.name);
            if activity.background {
                let (runner, activity) = (self.clone(), activity.clone());
                background.spawn(async move {
                    let Ok(_turn) = runner.background.acquire().await else {
                        return Err(Abort("the run is over".into()));
                    };
                    runner.perform(&activity).await
                });
                continue;
            }
            let one = self.perform(activity).await?;
            tell.told(&one.line(self.scene.now()));
            done.push(one);
        }
        while let Some(joined) = background.join_next().await {
            let one = joined.map_err(|e| Abort(format!("an activity in the background broke off: {e}")))??;
            tell.told(&one.line(self.scene.now()));
            done.push(one);
        }
        Ok(())
    }
}

/// Runs an experiment. `abort` ends it early, as Ctrl-C does: what was broken is undone then at once. Fails only if no
/// node can be asked before anything was done.
pub async fn run(
    experiment: &Experiment,
    fabric: &Fabric,
    options: Options,
    tell: &mut dyn Tell,
    abort: impl Future<Output = String>,
) -> Result<Report, ApiError> {
    let start = Timestamp::now();
    let fleet = fabric.fleet().await?;
    let plan = Plan::new(experiment, &fleet, options.seed, options.limits);
    let run = format!("{}-{}", experiment.slug(), &fresh_id()[..6]);
    let mut report = Report::new(experiment, &run, start, plan);
    if let (Some(_), Err(e)) = (experiment.strikes().next(), fabric.ensure_chaos_token()) {
        return Ok(report.refused(vec![format!("{}: {}", e.message, e.help.unwrap_or_default())]));
    }
    if !report.plan.refusals.is_empty() {
        let why = report.plan.refusals.clone();
        return Ok(report.refused(why));
    }
    tell.doing("the hypothesis, before anything is broken");
    report.before = check(experiment, fabric).await;
    if let Some(why) = report.before.as_ref().and_then(State::why) {
        return Ok(report.refused(vec![format!("the steady state is broken before the experiment: {why}")]));
    }
    let scene = Scene::new();
    let runner = Runner {
        fabric: fabric.clone(),
        scene: scene.clone(),
        options: options.clone(),
        run,
        confirm: experiment.rules.confirm,
        faults: Arc::default(),
        background: Arc::new(Semaphore::new(BACKGROUND_MAX)),
    };
    let load = if options.load { Some(Load::start(fabric, &scene, &fleet, options.writing).await) } else { None };
    // What was before is known, however early the first fault comes.
    let first = look(fabric, &scene).await;
    scene.timeline().add_sample(first);
    let mut watchers = JoinSet::new();
    watchers.spawn(watch(fabric.clone(), scene.clone()));
    let during = Arc::new(Mutex::new(vec![]));
    watchers.spawn(state::check_for_ever(experiment.clone(), fabric.clone(), scene.clone(), Arc::clone(&during)));
    let mending = mend::Mender::start(&runner, &mut watchers);

    let ended = tokio::select! {
        ended = runner.perform_all(&experiment.method, &mut report.activities, tell) => ended,
        why = abort => Err(Abort(why)),
        why = mending.safeguard() => Err(Abort(why)),
    };
    tell.doing("healing");
    let mended = match &ended {
        Ok(()) => mending.wait_until_due(&runner, tell).await,
        Err(Abort(why)) => {
            tell.told(&format!("aborted: {why}"));
            mending.undo_all(&runner).await
        }
    };
    let rolled = runner.perform_all(&experiment.rollbacks, &mut report.rollbacks, tell).await;
    // What rollbacks have broken is to be undone as well.
    let mended = match mended {
        Mended::All => mending.wait_until_due(&runner, tell).await,
        Mended::Late(_) | Mended::Not(_) => mended,
    };
    tell.doing("the hypothesis, after healing");
    report.after = state::check_until_met(experiment, fabric, experiment.rules.heal).await;
    let written: Option<Written> = match load {
        Some(load) => load.end(fabric, &scene).await,
        None => None,
    };
    let mended = mended.at_the_end(&runner);
    let ended_at = scene.now();
    watchers.shutdown().await;
    report.during = during.lock().unwrap_or_else(PoisonError::into_inner).clone();
    report.timeline = scene.timeline().clone();
    report.timeline.end(ended_at);
    report.written = written;
    report.duration = ended_at;
    report.judge(experiment, &options, ended.err(), rolled.err(), mended);
    Ok(report)
}
