//! The seams at which a node starts tasks and asks after their health.

use crate::{
    tasks::{HANGS, Tasks, boot_time},
    time::{ProcessClock, ProcessTime},
};
use async_trait::async_trait;
use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};
use taffeta_isolation_plan::{
    ActError, Cgroups, Executor, Found, Measures, Memory, Permitted, Piece, StartError, Started, Stream, TaskSpec,
    Usage,
};
use taffeta_model::{BootMillis, Exit};
use taffeta_net::Clock;
use taffeta_node::Prober;
use tokio::time::sleep;

/// Making a process takes so long, half of it before there is one.
const MAKING: Duration = Duration::from_millis(8);

/// Asking a process takes so long.
const ASKING: Duration = Duration::from_millis(1);

/// Starts and ends simulated tasks for one life of an agent.
pub(crate) struct SimExecutor {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) time: Arc<ProcessTime>,
    pub(crate) clock: Arc<ProcessClock>,
    /// Whether the agent's process is no more: its destructors must not act.
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) permitted: Permitted,
}

impl SimExecutor {
    /// Everything is in force on a simulated machine.
    pub(crate) fn permitted() -> Permitted {
        let cgroups = Cgroups::V2(taffeta_isolation_plan::Controller::ALL.into_iter().collect::<BTreeSet<_>>());
        Permitted {
            root: true,
            cgroups,
            group_parent: "taffeta".into(),
            memory: Memory::Private,
            measures: Measures::default(),
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Executor for SimExecutor {
    async fn start(&self, spec: TaskSpec) -> Result<Started, StartError> {
        spec.check()?;
        sleep(MAKING / 2).await; // an agent that dies here leaves nothing
        if self.is_dead() {
            return Err(StartError::Failed("the agent is no more".into()));
        }
        if spec.lease.is_some_and(|until| until.left(self.boot_time()) <= spec.grace) {
            return Err(StartError::Failed("its lease has ended".into()));
        }
        let run_id = spec.run_id.clone();
        let made = self.tasks.start(self.time.now(), self.clock.date(), spec);
        sleep(MAKING / 2).await; // and here a run that the next one finds
        match made {
            Ok((pid, started_at)) => Ok(Started { pid, started_at, not_isolated: vec![] }),
            Err(exit) => Err(StartError::AlreadyRan { run_id, exit }),
        }
    }

    async fn recover(&self) -> Vec<Found> {
        self.tasks.recover()
    }

    async fn wait(&self, run_id: &str) -> Exit {
        let Some(mut exit) = self.tasks.exit_of(run_id) else { return Exit::Lost };
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| exit.clone()).unwrap_or(Exit::Lost)
    }

    async fn signal(&self, run_id: &str, signal: i32) -> Result<(), ActError> {
        sleep(ASKING).await;
        match self.tasks.signal(self.time.now(), run_id, signal) {
            Some(true) => Ok(()),
            Some(false) => Err(ActError::Ended(run_id.into())),
            None => Err(ActError::Unknown(run_id.into())),
        }
    }

    async fn kill(&self, run_id: &str) -> Result<(), ActError> {
        sleep(ASKING).await;
        if self.tasks.kill(self.time.now(), run_id) { Ok(()) } else { Err(ActError::Unknown(run_id.into())) }
    }

    async fn extend(&self, run_id: &str, until: BootMillis) -> Result<(), ActError> {
        sleep(ASKING).await;
        let known = !self.is_dead() && self.tasks.extend(run_id, until);
        if known { Ok(()) } else { Err(ActError::Unknown(run_id.into())) }
    }

    fn boot_time(&self) -> BootMillis {
        boot_time(self.time.now())
    }

    async fn forget(&self, run_id: &str) -> Result<(), ActError> {
        sleep(ASKING).await;
        if self.tasks.forget(run_id) { Ok(()) } else { Err(ActError::Running(run_id.into())) }
    }

    async fn run_check(&self, run_id: &str, _: &[String], limit: Duration) -> bool {
        answer(self.tasks.pulse_of(self.time.now(), run_id), limit).await.is_ok()
    }

    async fn usage(&self, run_id: &str) -> Option<Usage> {
        sleep(ASKING).await;
        self.tasks.usage_of(self.clock.date(), run_id)
    }

    async fn tidy(&self) {}

    fn folder(&self, run_id: &str) -> PathBuf {
        PathBuf::from("/tasks").join(run_id)
    }

    async fn read_log(&self, _: &str, _: Stream, _: Piece) -> io::Result<(Vec<u8>, u64)> {
        Ok((vec![], 0)) // simulated tasks have nothing to say
    }

    fn permitted(&self) -> &Permitted {
        &self.permitted
    }
}

/// A reply as it comes over the machine's own network: soon, or never.
async fn answer(pulse: Result<(), String>, limit: Duration) -> Result<(), String> {
    let hangs = pulse.as_ref().is_err_and(|why| why == HANGS);
    sleep(if hangs { limit } else { ASKING }).await;
    pulse
}

/// Asks after the health of simulated tasks.
pub(crate) struct SimProber {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) time: Arc<ProcessTime>,
}

#[async_trait]
impl Prober for SimProber {
    async fn http(&self, address: SocketAddr, _: &str, limit: Duration) -> Result<(), String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await
    }

    async fn read(&self, address: SocketAddr, _: &str, _: usize, limit: Duration) -> Result<Vec<u8>, String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await?;
        Ok(vec![]) // simulated tasks have nothing to say
    }

    async fn tcp(&self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        answer(self.tasks.pulse_at(self.time.now(), address.port()), limit).await
    }

    fn is_free(&self, port: u16) -> bool {
        !self.tasks.has_port(port)
    }
}
