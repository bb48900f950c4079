//! The parts of a running node and what they share: how it asks other nodes and answers them, what it publishes, and
//! what it stores to find them again.
//!
//! Left out: users' writes, which are `write`'s; who leads and who is missing, which is `quorum`'s; who may join, which
//! is `join`'s; and each other theme, which is a module of its own that adds to [`Core`].

mod join;
mod quorum;
mod write;

pub(crate) use write::{refused, unknown_outcome};

use crate::{
    chaos::{Chaos, HeardFaults},
    consensus::{Consensus, Remote},
    dates::Dates,
    doors::DnsMeters,
    events::Events,
    folder::{Folder, Settings, file},
    generation::Generation,
    gossip::GossipHub,
    keyring::Keyring,
    leases::Leases,
    lives::Lives,
    names::LastHeard,
    renewal::{Papers, short},
    ring::Ring,
    tasks::Tasks,
    wire::{Ask, Told, Veiled},
    world::Prober,
};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use taffeta_dns_answer::Snapshot;
use taffeta_isolation_plan::Executor;
use taffeta_model::{
    Bug, ClusterId, Directory, Millis, NodeId, NodeInfo, NodeName, TaskId, TaskRecord, next_beat, planted,
};
use taffeta_net::{Authority, Clock, Credentials, Entropy, Net, NodeKey};
use taffeta_scheduler::Waits;
use taffeta_store::{Store, voters::Evidence};
use taffeta_swim::FACTS_MAX;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};
use write::Tried;

/// Begins a refusal that may pass by itself.
pub(crate) const NOT_NOW: &str = "not now: ";
/// Is in the refusal of a machine that speaks only older versions.
pub(crate) const OLD_VERSION: &str = "speaks only version";
/// How long a restarted node's first set waits for its tasks' health checks.
const RECHECK_WAIT: Duration = Duration::from_millis(1_500);

/// A running node. Its drive loops hold it; each method is called from any of them.
pub(crate) struct Core {
    pub(crate) me: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) settings: Settings,
    pub(crate) domain: String,
    pub(crate) key: Arc<NodeKey>,
    /// Start of this node's monotonic time.
    pub(crate) epoch: Instant,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) folder: Arc<dyn Folder>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) net: Arc<OnceLock<Net>>,
    pub(crate) ring: Ring,
    pub(crate) gossip: GossipHub,
    pub(crate) generation: Generation,
    /// When a peer of another generation was last shown this one's proof.
    pub(crate) shown: Mutex<BTreeMap<NodeId, Instant>>,
    /// Whose life it is that speaks in consensus.
    pub(crate) lives: Arc<Lives>,
    pub(crate) tasks: Tasks,
    pub(crate) store: Store,
    pub(crate) directory: watch::Sender<Arc<Directory>>,
    /// Whether the directory could not be stored; it is tried again.
    pub(crate) directory_unstored: AtomicBool,
    pub(crate) consensus: watch::Sender<Consensus>,
    pub(crate) remote: watch::Sender<Remote>,
    pub(crate) info: NodeInfo,
    /// What an embedding program publishes itself; at most [`crate::PUBLISHED_MAX`].
    pub(crate) published: watch::Sender<BTreeMap<TaskId, TaskRecord>>,
    /// How long certificates live.
    pub(crate) certificate_lives: taffeta_net::Lives,
    /// The date, and what others say of it.
    pub(crate) dates: Arc<Dates>,
    /// What this node shows and believes, and the same as it is stored.
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) papers: Mutex<Papers>,
    /// Hash of the CA that this node's certificate is of.
    pub(crate) issuer: watch::Sender<[u8; 32]>,
    /// The CAs whose keys this node holds: the one that signs, and beside it the next or the former one; the newest last.
    pub(crate) authorities: Mutex<Vec<Authority>>,
    /// Why this node is no member any more, as the cluster has told it.
    pub(crate) removed: watch::Sender<Option<&'static str>>,
    /// Whether it is being asked just now whether a refusal is the cluster's.
    pub(crate) asking_holders: Arc<Semaphore>,
    pub(crate) keyring: Keyring,
    pub(crate) leases: Leases,
    /// Why tasks wait, by the leader's newest plan; empty elsewhere.
    pub(crate) waiting: ArcSwap<Waits>,
    pub(crate) failed_probes: Mutex<BTreeMap<NodeId, Millis>>,
    pub(crate) probing: Mutex<BTreeSet<NodeId>>,
    pub(crate) probed: Notify,
    pub(crate) changing_voters: Arc<Semaphore>,
    /// Held from the making of a plan until its decisions are written.
    pub(crate) planning: Arc<tokio::sync::Mutex<()>>,
    /// What this node has seen of the members since it leads.
    pub(crate) evidence: Mutex<Evidence>,
    pub(crate) names: Arc<ArcSwap<Snapshot>>,
    /// When each owner's set was last changed here, on this node's clock.
    pub(crate) heard: ArcSwap<LastHeard>,
    /// What DNS counts; set once its doors are open.
    pub(crate) dns_meters: OnceLock<DnsMeters>,
    pub(crate) events: Events,
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Whether the node has failed only to be started anew.
    pub(crate) restart: watch::Sender<bool>,
    /// Whether this node has published what it runs.
    pub(crate) spoken: watch::Sender<bool>,
    pub(crate) leaving: watch::Sender<bool>,
    /// What hurts this node on purpose; `None` in a world that is not the machine's.
    pub(crate) chaos: Option<Arc<Chaos>>,
    /// What other nodes have told of theirs.
    pub(crate) heard_faults: HeardFaults,
}

tokio::task_local! {
    /// Set in the node's own loops.
    static IN_LOOP: ();
}

/// Whether this runs in one of the node's own loops, each of which is a task of its own.
pub(crate) fn is_in_loop() -> bool {
    IN_LOOP.try_with(|()| ()).is_ok()
}

/// Runs a loop of the node; if it panics, whoever runs the node is told, for a node with a dead loop only seems to live.
pub(crate) async fn guarded(name: &'static str, failed: watch::Sender<Option<String>>, work: impl Future<Output = ()>) {
    struct Guard(&'static str, watch::Sender<Option<String>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.1.send_replace(Some(format!("a bug: the node's loop `{}` has panicked", self.0)));
            }
        }
    }
    let _guard = Guard(name, failed);
    IN_LOOP.scope((), work).await;
}

impl Core {
    /// This node's monotonic time.
    pub(crate) fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The next of the instants, `every` apart, at which it looks after what nobody tells it. All loops look at the same
    /// instants: an idle node wakes up seldom.
    pub(crate) fn next_beat(&self, every: Duration) -> Instant {
        self.epoch + next_beat(self.epoch.elapsed(), every)
    }

    /// The endpoint. Loops run only after it is there.
    pub(crate) fn net(&self) -> &Net {
        self.net.get().expect("loops start after the endpoint")
    }

    /// The node cannot go on; whoever runs it is told. What comes after the first reason follows from it.
    pub(crate) fn fail(&self, why: String) {
        tracing::error!(why, "the node cannot go on");
        self.failed.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(why);
            first
        });
    }

    /// Name of a node, as far as known; else its id.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        if id == self.me {
            return self.settings.name.to_string();
        }
        let named = self.directory.borrow().members.get(&id).map(|m| m.name.to_string());
        named.or_else(|| self.gossip.sets().get(&id).map(|s| s.info.name.to_string())).unwrap_or_else(|| id.to_string())
    }

    /// Answers another node.
    pub(crate) async fn answer(&self, from: NodeId, ask: Ask) -> Told {
        match ask {
            Ask::Ping => Told::Yes,
            Ask::Generation(theirs) => {
                let mine = self.generation.recovery();
                if let Some(theirs) = theirs {
                    self.take_recovery(from, theirs).await;
                }
                Told::Generation(mine)
            }
            Ask::Whereabouts(node) => {
                Told::At(self.ring.state().members.get(&node).map(|member| member.identity.address))
            }
            Ask::PingVia(node) => {
                let there = self.ask(node, &Ask::Ping, Duration::from_millis(700)).await;
                if matches!(there, Ok(Told::Yes)) { Told::Yes } else { Told::No }
            }
            Ask::Exchange { facts, .. } if facts.len() > FACTS_MAX => Told::No,
            Ask::Exchange { parts, facts } => {
                self.ring.merge(facts).await;
                Told::Facts(self.ring.facts_in(parts).await)
            }
            Ask::Farewell(incarnation) => {
                self.ring.left(from, incarnation).await;
                Told::Yes
            }
            Ask::Pull(pull) => Told::Pulled(Box::new(self.answer_pull(from, &pull).await)),
            Ask::Authority => self.give_authority(from),
            Ask::NextAuthority(seed, certificate) => self.take_next_authority(from, seed, certificate),
            ask @ (Ask::Rotate | Ask::FinishRotation { .. } | Ask::Remove { .. }) => {
                Told::Submitted(self.lead_here(&ask).await)
            }
            Ask::Submit(command) => match self.submit_here(command).await {
                Tried::Ended(result) => Told::Submitted(result),
                Tried::Elsewhere(other) => Told::Elsewhere(other),
            },
            Ask::Join(request) => Told::Joined(self.decide_join(request).await),
            Ask::Read(query) => Told::Document(self.read_here(query)),
            Ask::Depart => {
                if self.let_depart(from).await {
                    Told::Yes
                } else {
                    Told::No
                }
            }
            Ask::Logs(task, read) => Told::Logs(self.logs_for_older(&task, read).await),
            Ask::Output(task, read) => Told::Output(self.logs_here(&task, &read).await),
            Ask::Files(task, ask) => Told::Files(self.files_here(&task, ask).await),
            Ask::Chaos(_) => Told::No, // answered before it comes here
            Ask::Keyring => self.give_keyring(from),
            Ask::SetSecret(name, Veiled(value)) => Told::SecretSet(self.set_secret_here(&name, &value).await),
            Ask::Secrets(wanted) => self.give_secrets(from, &wanted),
            Ask::Backup => Told::Backup(self.backup_here().await),
            Ask::Usage(asked) => self.usage_here(asked).await,
            Ask::Volumes => Told::Volumes(self.volumes_here().await),
            Ask::Figures(task) => Told::Document(Ok(
                serde_json::to_vec(&self.figures_here(&task).await).unwrap_or_default(), // plain figures are always JSON
            )),
            Ask::Lease(ask) => self.answer_lease(from, &ask).await.map_or(Told::No, Told::Leases),
            #[cfg(test)]
            Ask::Newer => Told::Yes,
            Ask::HoldsKeys => {
                if self.holds_keys() {
                    Told::Yes
                } else {
                    Told::No
                }
            }
        }
    }

    pub(crate) fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().expect("no panic while they are held")
    }

    pub(crate) fn authorities(&self) -> MutexGuard<'_, Vec<Authority>> {
        self.authorities.lock().expect("no panic while they are held")
    }

    /// Publishes this node's records whenever they change.
    pub(crate) async fn run_publish(self: Arc<Self>) {
        let (mut records, mut published) = (self.tasks.records(), self.published.subscribe());
        let mut issuer = self.issuer.subscribe();
        // Peers keep the set of the earlier life until the first of this one is there. It waits until what was taken up
        // again has been checked, or else tasks that never stopped would vanish from DNS for a moment.
        let checked = records.wait_for(|all| all.iter().all(|r| r.serving || r.pid.is_none()));
        let _ = timeout(RECHECK_WAIT, checked).await;
        loop {
            let own = Arc::clone(&records.borrow_and_update());
            let extra = published.borrow_and_update().clone();
            let foreign = planted(Bug::PublishForeignRecord).then(|| self.gossip.foreign_record()).flatten();
            let all = own.iter().cloned().chain(extra.into_values()).chain(foreign).collect();
            let authority = short(&issuer.borrow_and_update());
            self.gossip.publish(NodeInfo { authority, ..self.info.clone() }, all);
            self.spoken.send_replace(true);
            tokio::select! {
                changed = records.changed() => if changed.is_err() { return },
                changed = published.changed() => if changed.is_err() { return },
                changed = issuer.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Stores the directory, now or, if the disk is full, when there is room again.
    pub(crate) fn store_directory(&self, directory: &Directory) {
        if let Err(error) = crate::folder::save(&*self.folder, file::DIRECTORY, directory) {
            tracing::error!(%error, "the directory could not be stored, and is tried again");
            self.directory_unstored.store(true, Ordering::Relaxed);
        }
    }

    /// Remembers where other members are, so that a restart finds the ring.
    pub(crate) async fn run_upkeep(self: Arc<Self>) {
        let mut stored = BTreeMap::new();
        loop {
            if self.directory_unstored.swap(false, Ordering::Relaxed) {
                let directory = Arc::clone(&self.directory.borrow());
                self.store_directory(&directory);
            }
            let ring = self.ring.state();
            let peers: BTreeMap<_, _> = ring.members.iter().map(|(id, m)| (*id, m.identity.address)).collect();
            if peers != stored && !peers.is_empty() {
                match crate::folder::save(&*self.folder, file::PEERS, &peers) {
                    Ok(()) => stored = peers,
                    Err(error) => tracing::error!(%error, "the member list could not be stored"),
                }
            }
            tokio::time::sleep_until(self.next_beat(Duration::from_secs(2))).await;
        }
    }

    /// Tells the others that this node leaves, so that they need not find out.
    pub(crate) async fn say_farewell(&self) {
        // Those who are told first tell it on, and this node must not contradict what it hears of itself then.
        self.ring.resign().await;
        let ring = self.ring.state();
        let farewell = Ask::Farewell(ring.incarnation);
        let limit = Duration::from_millis(500);
        // The ring's own farewell reaches the rest; these few make it known as a leave, not as a death.
        let alive = ring.alive();
        let told = alive.iter().take(64).map(|peer| self.ask(*peer, &farewell, limit));
        futures::future::join_all(told).await;
        self.ring.leave().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// Name of this node.
    pub(crate) fn name(&self) -> &NodeName {
        &self.settings.name
    }
}
