//! A run: hypothesis, faults, healing, hypothesis again; and whatever happens, everything is undone.
//!
//! [`perform`] goes through the activities, [`inject`] brings faults about, [`mend`] watches that what is due is undone,
//! [`state`] checks the hypothesis. The nodes undo every fault at its deadline by themselves: what is done here only makes
//! it sooner, and confirms it.

mod inject;
mod mend;
mod perform;
mod report;
mod state;

pub use report::{Done, Report, Verdict};
pub use state::{Looked, State, Stretch};

pub(crate) use state::check;

use crate::{
    fabric::Fabric,
    format::{Experiment, Secrets},
    load::{Load, Written},
    plan::{Limits, Plan},
    scene::Scene,
    watch::{look, watch},
};
use jiff::Timestamp;
use mend::{Mended, Mender};
use perform::Performed;
use state::Watched;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use taffeta_node::api::ApiError;
use tokio::{sync::Semaphore, task::JoinSet};

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
    /// What must not be told.
    secrets: Secrets,
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
    /// Who was drawn, by the activity's name and what it does: who refers to it strikes the same.
    pub(crate) drawn: BTreeMap<(String, String), Vec<String>>,
}

/// Why a method ends before its end.
#[derive(Clone, Debug)]
pub(crate) struct Abort(pub(crate) String);

impl Runner {
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all faults are over by themselves; if the run is aborted, or was, undoes them now.
    async fn heal(
        &self,
        mending: &Mender,
        aborted: &mut Option<Abort>,
        abort: &mut (impl Future<Output = String> + Unpin),
        tell: &mut dyn Tell,
    ) -> Mended {
        tell.doing("healing");
        if aborted.is_none() {
            let waiting = async { Ok::<_, Abort>(mending.wait_until_due(self, tell).await) };
            match unless_aborted(waiting, abort, mending).await {
                Ok(mended) => return mended,
                Err(why) => *aborted = Some(told(why, tell)),
            }
        }
        mending.undo_all(self).await
    }
}

/// Lets something go on until a person or the safeguard ends the run.
async fn unless_aborted<T>(
    work: impl Future<Output = Result<T, Abort>>,
    abort: &mut (impl Future<Output = String> + Unpin),
    mending: &Mender,
) -> Result<T, Abort> {
    tokio::select! {
        // Who stops all faults ends the wait for them as well: that is an abort, and no healing.
        biased;
        why = abort => Err(Abort(why)),
        why = mending.safeguard() => Err(Abort(why)),
        done = work => done,
    }
}

fn told(why: Abort, tell: &mut dyn Tell) -> Abort {
    tell.told(&format!("aborted: {}", why.0));
    why
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
        secrets: experiment.secrets.clone(),
        confirm: experiment.rules.confirm,
        faults: Arc::default(),
        background: Arc::new(Semaphore::new(BACKGROUND_MAX)),
    };
    let load = if options.load { Some(Load::start(fabric, &scene, &fleet, options.writing).await) } else { None };
    // What was before is known, however early the first fault comes.
    let mut names = None;
    let first = look(fabric, &scene, &mut names).await;
    scene.timeline().add_sample(first);
    let mut watchers = JoinSet::new();
    watchers.spawn(watch(fabric.clone(), scene.clone(), names));
    let watched = Watched::start(experiment, fabric, &scene, &mut watchers);
    let mending = Mender::start(&runner, &mut watchers);

    tokio::pin!(abort);
    let performed = Performed::default();
    let method = runner.perform_all(&experiment.method, &performed, tell);
    let ended = unless_aborted(method, &mut abort, &mending).await;
    report.activities = performed.take();
    let mut aborted = ended.err().map(|why| told(why, tell));
    let mended = runner.heal(&mending, &mut aborted, &mut abort, tell).await;
    let performed = Performed::default();
    runner.perform_each(&experiment.rollbacks, &performed, tell).await;
    report.rollbacks = performed.take();
    // What rollbacks have broken is to be undone as well.
    let mended = match mended {
        Mended::All => runner.heal(&mending, &mut aborted, &mut abort, tell).await,
        Mended::Late(_) | Mended::Not(_) => mended,
    };
    tell.doing("the hypothesis, after healing");
    let until_met = state::check_until_met(experiment, fabric, experiment.rules.heal);
    report.after = tokio::select! {
        biased;
        why = &mut abort, if aborted.is_none() => {
            aborted = Some(told(Abort(why), tell));
            check(experiment, fabric).await
        }
        after = until_met => after,
    };
    let written: Option<Written> = match load {
        Some(load) => load.end(fabric, &scene).await,
        None => None,
    };
    let mended = mended.at_the_end(&runner);
    let ended_at = scene.now();
    watchers.shutdown().await;
    (report.during, report.failures) = watched.end(ended_at);
    report.timeline = scene.timeline().clone();
    report.timeline.end(ended_at);
    report.written = written;
    report.duration = ended_at;
    report.judge(experiment, &options, aborted, mended);
    Ok(report)
}
