//! A client that changes what is to run.

use super::{App, Ending, Question, Shape, pause};
use crate::{cluster::Cluster, random::stream};
use rand::{RngExt, rngs::SmallRng};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use taffeta_model::{AppName, JobName};
use taffeta_node::api::{DeployRequest, ScaleRequest};

/// Pause between two changes.
const THINKS: Duration = Duration::from_secs(6);

/// Pause before something that must be acknowledged is said again.
const INSISTS: Duration = Duration::from_millis(500);

/// A command that was given up on takes effect within this time or never.
const LATE: Duration = Duration::from_secs(10);

/// A client gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A change of what is to run.
#[derive(Clone, Debug)]
enum Order {
    Deploy(App),
    Scale(AppName, JobName, u32),
    Stop(AppName),
    Restart(AppName, Option<JobName>),
}

pub(super) struct Operator {
    rng: SmallRng,
    next: Duration,
    version: u32,
    asking: Option<(Order, Duration, Question<()>)>,
    /// What has to be acknowledged before the run ends; `None` before that.
    last: Option<VecDeque<App>>,
    wanted: BTreeMap<Shape, App>,
}

impl Operator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: stream(seed, "operator"),
            next: Duration::ZERO,
            version: 0,
            asking: None,
            last: None,
            wanted: BTreeMap::new(),
        }
    }

    pub(super) fn settle(&mut self, cluster: &mut Cluster) {
        let machines = u32::try_from(cluster.present().filter(|m| !m.is_gone()).count()).unwrap_or(1);
        self.version += 1;
        let apps = Shape::ALL.map(|shape| App::modest(shape, self.version, machines));
        self.wanted = apps.iter().map(|app| (app.shape, app.clone())).collect();
        self.last = Some(apps.into());
        // What was asked before may still take effect until its time is up, and must not come after the last word.
        self.next = cluster.now() + LATE;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.last.as_ref().is_some_and(VecDeque::is_empty)
    }

    pub(super) fn wanted(&self) -> Vec<App> {
        self.wanted.values().cloned().collect()
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
            cluster.tell(format!("the operator {word} {}{how}", describe(order)));
            if let (true, Order::Deploy(app), Some(last)) = (done, order, &mut self.last) {
                last.retain(|wanted| wanted != app);
            }
            self.asking = None;
            let thinks = if self.last.is_some() { INSISTS } else { THINKS };
            self.next = self.next.max(now + pause(&mut self.rng, thinks));
        }
        if now < self.next || self.is_settled() {
            return;
        }
        let thinks = if self.last.is_some() { INSISTS } else { THINKS };
        self.next = now + pause(&mut self.rng, thinks);
        let order = match &self.last {
            Some(last) => last.front().map(|app| Order::Deploy(app.clone())),
            None => Some(self.any_order()),
        };
        let Some(order) = order else { return };
        let given = order.clone();
        let question = Question::ask(cluster, &mut self.rng, |backend| async move {
            match given {
                Order::Deploy(app) => {
                    let request = DeployRequest { file: app.file(), files: BTreeMap::new() };
                    backend.deploy(request).await.map(drop)
                }
                Order::Scale(app, job, count) => {
                    backend.scale(app, ScaleRequest { service: job.to_string(), count }).await
                }
                Order::Stop(app) => backend.stop(app).await,
                Order::Restart(app, job) => backend.restart(app, job).await,
            }
        });
        self.asking = question.map(|question| (order, now, question));
    }

    fn any_order(&mut self) -> Order {
        let rng = &mut self.rng;
        let shape = Shape::ALL[rng.random_range(0..Shape::ALL.len())];
        let app = AppName::new(shape.name()).expect("a label");
        let job = |name: &str| JobName::new(name).expect("a label");
        self.version += 1;
        // The first orders make sure that there is something to work on.
        let what = if self.version <= 3 { 0 } else { rng.random_range(0..10) };
        let shape = if self.version <= 3 { Shape::ALL[self.version as usize - 1] } else { shape };
        match (what, shape.service()) {
            (5 | 6, Some(service)) => Order::Scale(app, job(service), rng.random_range(0..=5)),
            (7, _) => Order::Stop(app),
            (8, service) => Order::Restart(app, service.map(job)),
            _ => Order::Deploy(App::any(rng, shape, self.version)),
        }
    }
}

fn describe(order: &Order) -> String {
    match order {
        Order::Deploy(app) => format!("deploy {} {} x {}", app.shape.name(), app.version, app.count),
        Order::Scale(app, job, count) => format!("scale {app}/{job} to {count}"),
        Order::Stop(app) => format!("stop {app}"),
        Order::Restart(app, Some(job)) => format!("restart {app}/{job}"),
        Order::Restart(app, None) => format!("restart {app}"),
    }
}
