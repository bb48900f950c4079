//! One life of a node's process: a runtime of its own on virtual time, with the node's real code in it.

use crate::{
    disk::{Disk, LogFiles, Session},
    executor::{SimExecutor, SimProber},
    random::SeededEntropy,
    tasks::Tasks,
    time::{Calendar, ProcessClock, ProcessTime, Run},
    wire::{Socket, Wire},
};
use futures::FutureExt;
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_dns_server::{Responder, Upstreams};
use taffeta_net::CryptoProvider;
use taffeta_node::{Fabric, FabricConfig, Inspect, World};
use taffeta_store::{Driver, Sizes};
use tokio::{
    runtime::{Builder, RngSeed, Runtime},
    task::JoinHandle,
    time::{Instant, advance, sleep},
};

/// A sync of the log takes so long.
const SYNC: Duration = Duration::from_millis(2);

/// Small files, so that one log follows another in every run.
pub(crate) const LOG_SIZES: Sizes = Sizes { segment: 64 << 10, ahead: 8 << 10 };

/// What a process finds on its machine.
pub(crate) struct Surroundings<'a> {
    pub(crate) run: &'a Arc<Run>,
    pub(crate) wire: &'a Arc<Wire>,
    pub(crate) disk: &'a Arc<Disk>,
    pub(crate) tasks: &'a Arc<Tasks>,
    pub(crate) calendar: &'a Arc<Calendar>,
    pub(crate) crypto: &'a Arc<CryptoProvider>,
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    /// Distinct for each life of each process of the run.
    pub(crate) name: String,
    pub(crate) snapshot_every: u64,
}

/// How far the process has come.
#[derive(Default)]
enum Stage {
    #[default]
    Starting,
    Up(Box<Fabric>),
    /// It takes leave.
    Stopping(Inspect),
    /// It has ended by itself, with a reason if it was not asked to.
    Ended(Option<String>),
}

/// A node's process.
pub(crate) struct Process {
    runtime: Runtime,
    time: Arc<ProcessTime>,
    stage: Arc<Mutex<Stage>>,
    dead: Arc<AtomicBool>,
    socket: Arc<Socket>,
    span: tracing::Span,
    /// Its own time that it has not lived yet.
    owed: Duration,
}

impl Process {
    pub(crate) fn start(config: FabricConfig, around: &Surroundings<'_>) -> Self {
        let entropy = SeededEntropy::new(around.seed, &around.name);
        let runtime = runtime(&entropy);
        let (time, socket) = {
            let _inside = runtime.enter();
            let time = Arc::new(ProcessTime::new(Arc::clone(around.run)));
            let socket = around.wire.bind(around.address, Arc::clone(&time));
            (time, socket)
        };
        let dead = Arc::<AtomicBool>::default();
        let stage = Arc::<Mutex<Stage>>::default();
        let clock = Arc::new(ProcessClock { time: Arc::clone(&time), calendar: Arc::clone(around.calendar) });
        let session = around.disk.open();
        let seams = Seams {
            clock,
            entropy,
            crypto: Arc::clone(around.crypto),
            session,
            time: Arc::clone(&time),
            tasks: Arc::clone(around.tasks),
            socket: Arc::clone(&socket),
            dead: Arc::clone(&dead),
            snapshot_every: around.snapshot_every,
        };
        let reached = Arc::clone(&stage);
        runtime.spawn(async move {
            let next = match seams.start(config).await {
                Ok(fabric) => Stage::Up(Box::new(fabric)),
                Err(why) => Stage::Ended(Some(why)),
            };
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = next;
        });
        let span = tracing::info_span!("node", name = around.name);
        Self { runtime, time, stage, dead, socket, span, owed: Duration::ZERO }
    }

    /// Lives through a step of the run. `rate` is how fast its clock goes; without a `turn` it stands still.
    pub(crate) fn step(&mut self, tick: Duration, rate: f64, turn: bool) {
        self.owed += tick.mul_f64(rate);
        let millis = u64::try_from(self.owed.as_millis()).unwrap_or(u64::MAX);
        if !turn || millis == 0 {
            return;
        }
        self.owed -= Duration::from_millis(millis);
        // What it did not live through, it has missed: its clock jumps, and all that was due is late.
        let lived = Duration::from_millis(millis).min(tick.mul_f64(1.5));
        let lived = Duration::from_millis(u64::try_from(lived.as_millis()).unwrap_or(1));
        let missed = Duration::from_millis(millis) - lived;
        let _span = self.span.enter();
        self.runtime.block_on(async {
            self.time.begin_step(Instant::now() + missed);
            if !missed.is_zero() {
                advance(missed).await;
            }
            sleep(lived).await;
        });
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks inside of the node, if it is up or takes leave.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Inspect) -> T) -> Option<T> {
        let inspect = match &*self.stage() {
            Stage::Up(fabric) => fabric.inspect(),
            Stage::Stopping(inspect) => inspect.clone(),
            Stage::Starting | Stage::Ended(_) => return None,
        };
        let _inside = self.runtime.enter();
        Some(look(&inspect))
    }

    /// Who answers DNS for the node, if it is up.
    pub(crate) fn responder(&self) -> Option<Arc<Responder>> {
        match &*self.stage() {
            Stage::Up(fabric) => Some(fabric.responder()),
            Stage::Starting | Stage::Stopping(_) | Stage::Ended(_) => None,
        }
    }

    /// Asks the node for something, as over its API; `None` if it is not up. If the process dies, so does the question.
    pub(crate) fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        question: impl FnOnce(&Fabric) -> F,
    ) -> Option<JoinHandle<T>> {
        match &*self.stage() {
            Stage::Up(fabric) => Some(self.runtime.spawn(question(fabric))),
            Stage::Starting | Stage::Stopping(_) | Stage::Ended(_) => None,
        }
    }

    /// Begins a clean stop; `false` if the node is not up.
    pub(crate) fn stop(&self) -> bool {
        let mut stage = self.stage();
        let Stage::Up(fabric) = &*stage else { return false };
        let leaving = Stage::Stopping(fabric.inspect());
        let Stage::Up(fabric) = std::mem::replace(&mut *stage, leaving) else { return false };
        let reached = Arc::clone(&self.stage);
        self.runtime.spawn(async move {
            fabric.shutdown().await;
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Ended(None);
        });
        true
    }

    /// Whether it takes leave.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(&*self.stage(), Stage::Stopping(_))
    }

    /// Whether the process has ended by itself, and the reason if it was not asked to.
    pub(crate) fn ended(&self) -> Option<Option<String>> {
        match &*self.stage() {
            Stage::Ended(why) => Some(why.clone()),
            Stage::Up(fabric) => fabric.inspect().failed().map(Some),
            Stage::Starting | Stage::Stopping(_) => None,
        }
    }

    /// kill -9. The caller has taken its disk away and closed its socket: destructors run, and must reach nothing.
    pub(crate) fn kill(self) {
        self.dead.store(true, Ordering::Relaxed);
        self.socket.close();
        let stage = std::mem::replace(&mut *self.stage(), Stage::Ended(None));
        {
            let _inside = self.runtime.enter();
            drop(stage);
        }
        drop(self.runtime);
    }
}

/// The reply to a question, once it is there: `Some(None)` if the process died over it.
pub(crate) fn reply<T>(question: &mut JoinHandle<T>) -> Option<Option<T>> {
    if !question.is_finished() {
        return None;
    }
    question.now_or_never().map(Result::ok)
}

fn runtime(entropy: &SeededEntropy) -> Runtime {
    use taffeta_net::Entropy;
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).rng_seed(RngSeed::from_bytes(&seed)).build();
    let runtime = runtime.expect("a runtime without IO needs nothing that could fail");
    runtime.block_on(async { sleep(Duration::from_millis(1)).await }); // on to a whole millisecond
    runtime
}

/// Everything through which the node touches its world.
struct Seams {
    clock: Arc<ProcessClock>,
    entropy: SeededEntropy,
    crypto: Arc<CryptoProvider>,
    session: Session,
    time: Arc<ProcessTime>,
    tasks: Arc<Tasks>,
    socket: Arc<Socket>,
    dead: Arc<AtomicBool>,
    snapshot_every: u64,
}

impl Seams {
    async fn start(self, config: FabricConfig) -> Result<Fabric, String> {
        let executor = SimExecutor {
            tasks: Arc::clone(&self.tasks),
            time: Arc::clone(&self.time),
            clock: Arc::clone(&self.clock),
            dead: self.dead,
            permitted: SimExecutor::permitted(),
        };
        let world = World {
            clock: self.clock,
            entropy: Arc::new(self.entropy),
            crypto: self.crypto,
            socket: self.socket,
            log: Arc::new(LogFiles(self.session.clone())),
            log_sizes: LOG_SIZES,
            folder: Arc::new(self.session),
            driver: Driver::Task(SYNC),
            executor: Arc::new(executor),
            prober: Arc::new(SimProber { tasks: self.tasks, time: self.time }),
            upstreams: Upstreams::Nobody,
            api_socket: None,
            programs: None,
            snapshot_every: self.snapshot_every,
        };
        Fabric::start_in(config, world).await.map_err(|e| e.to_string())
    }
}
