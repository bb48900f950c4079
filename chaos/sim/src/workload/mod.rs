//! Clients that work through it all: they deploy, scale, stop, update, write and read, on any node, whatever is broken.
//!
//! A client acts on what it is told, as people and their scripts do: an acknowledged write must stay, a refused one must
//! never take effect, and of the rest nothing is known.

mod administrator;
mod apps;
mod history;
mod keeper;
mod operator;
mod planner;
mod reader;
mod work;
mod writer;

pub(crate) use administrator::Chore;
pub(crate) use apps::{App, Shape};
pub(crate) use history::{Fate, History};
pub(crate) use keeper::{KEEP, volume_of};

use crate::{cluster::Cluster, process::reply, trace::Event};
use administrator::Administrator;
use keeper::Keeper;
use operator::Operator;
use planner::Planner;
use rand::{RngExt, rngs::SmallRng};
use reader::Reader;
use std::{future::Future, time::Duration};
use taffeta_node::{
    Inspect,
    api::{ApiError, Backend, ErrorCode},
};
use tokio::task::JoinHandle;
use work::Work;
use writer::Writer;

/// All clients of a run.
pub(crate) struct Workload {
    writers: Vec<Writer>,
    operator: Operator,
    administrator: Administrator,
    planner: Planner,
    reader: Reader,
    keeper: Keeper,
    pub(crate) history: History,
}

impl Workload {
    /// Writers pause so long between two writes, in the mean.
    pub(crate) fn new(seed: u64, thinks: Duration) -> Self {
        Self {
            writers: (0..2).map(|i| Writer::new(seed, i, thinks)).collect(),
            operator: Operator::new(seed),
            administrator: Administrator::new(seed),
            planner: Planner::new(seed),
            reader: Reader::new(seed),
            keeper: Keeper::new(seed),
            history: History::default(),
        }
    }

    /// Lets every client go on.
    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        for writer in &mut self.writers {
            writer.step(cluster, &mut self.history);
        }
        self.operator.step(cluster);
        self.administrator.step(cluster);
        self.planner.step(cluster);
        self.reader.step(cluster);
        self.keeper.step(cluster);
    }

    /// No more changes of mind: from now on the operator wants these apps, and says so until each is acknowledged.
    pub(crate) fn settle(&mut self, cluster: &mut Cluster) {
        self.operator.settle(cluster);
        self.administrator.settle(cluster);
        self.planner.settle(cluster);
        self.keeper.settle(cluster);
    }

    /// Where all that was wanted has come about, one more update and a drain; `false` if they have, too.
    pub(crate) fn encore(&mut self, cluster: &mut Cluster) -> bool {
        self.planner.encore(cluster)
    }

    /// What the scheduler was given to do last.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &Work> {
        self.planner.wanted()
    }

    /// Whether all that was wanted last has been acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.operator.is_settled() && self.planner.is_settled() && self.keeper.is_settled()
    }

    /// Whether the service that keeps data has to be there in the end.
    pub(crate) fn keeps_data(&self) -> bool {
        self.keeper.is_wanted()
    }

    /// The apps that are wanted last.
    pub(crate) fn wanted(&self) -> Vec<App> {
        self.operator.wanted()
    }

    /// Gives up what is under way: its fate is unknown.
    pub(crate) fn end(&mut self, cluster: &Cluster) {
        for writer in &mut self.writers {
            writer.give_up(cluster, &mut self.history);
        }
    }
}

/// How a client's question ended.
pub(crate) enum Ending<T> {
    Done(T),
    /// Refused: nothing was changed.
    Refused(ApiError),
    /// It may or may not have taken effect.
    Unknown,
}

/// A question under way.
pub(crate) struct Question<T> {
    handle: JoinHandle<Result<T, ApiError>>,
    number: u64,
    machine: usize,
}

impl<T: Send + 'static> Question<T> {
    /// Asks a random node that is up; `None` if there is none.
    pub(crate) fn ask<F: Future<Output = Result<T, ApiError>> + Send + 'static>(
        cluster: &Cluster,
        rng: &mut SmallRng,
        what: impl FnOnce(std::sync::Arc<dyn Backend>) -> F,
    ) -> Option<Self> {
        let machine = cluster.places[rng.random_range(0..cluster.places.len())];
        let process = cluster.machines[machine].process()?;
        let handle = process.ask(|fabric| what(fabric.backend()))?;
        let number = rng.random();
        cluster.site.run.note(cluster.now(), Event::Ask, machine as u64, 0, number);
        Some(Self { handle, number, machine })
    }

    /// The machine that was asked.
    pub(crate) fn machine(&self) -> usize {
        self.machine
    }

    /// The newest generation that the node has met that was asked; `None` if it is not up.
    pub(crate) fn generation(&self, cluster: &Cluster) -> Option<u64> {
        cluster.machines[self.machine].look(Inspect::generation)
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&mut self, cluster: &Cluster) -> Option<Ending<T>> {
        let ending = match reply(&mut self.handle)? {
            Some(Ok(answer)) => Ending::Done(answer),
            // The one code that leaves it open.
            Some(Err(error)) if error.code == ErrorCode::Timeout => Ending::Unknown,
            Some(Err(error)) => Ending::Refused(error),
            None => Ending::Unknown, // the node died over it
        };
        let code = match &ending {
            Ending::Done(_) => 0,
            Ending::Refused(_) => 1,
            Ending::Unknown => 2,
        };
        cluster.site.run.note(cluster.now(), Event::Answer, self.machine as u64, code, self.number);
        Some(ending)
    }
}

/// A pause with this mean, never zero.
pub(crate) fn pause(rng: &mut SmallRng, mean: Duration) -> Duration {
    mean.mul_f64(rng.random_range(0.1..1.9))
}
