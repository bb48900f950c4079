//! The parts of a running node, and what they share.

use crate::{
    api::{ApiError, ErrorCode},
    consensus::{Consensus, Remote},
    doors::DnsMeters,
    events::Events,
    folder::{Folder, Settings, file},
    generation::Generation,
    gossip::GossipHub,
    names::LastHeard,
    ring::Ring,
    tasks::Tasks,
    wire::{Ask, JoinRequest, Told, Welcome, decode, encode},
};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use taffeta_dns_answer::Snapshot;
use taffeta_isolation_plan::Executor;
use taffeta_model::{
    Bug, ClusterId, Command, Directory, Fence, Millis, NodeId, NodeInfo, NodeName, Outcome, Refusal, TaskId,
    TaskRecord, planted,
};
use taffeta_net::{Authority, CallError, Clock, Entropy, Lane, Net, NodeKey, PublicKey, sha256};
use taffeta_scheduler::Waiting;
use taffeta_store::{Store, WriteError};
use taffeta_swim::FACTS_MAX;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};

/// How long a request waits for a leader to be elected before it is refused.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// How long a user's write may take.
const SUBMIT_LIMIT: Duration = Duration::from_secs(8);
/// Begins a refusal that may pass by itself.
pub(crate) const NOT_NOW: &str = "not now: ";
/// How long a restarted node's first set waits for its tasks' health checks.
const RECHECK_WAIT: Duration = Duration::from_millis(1_500);
/// How often a voter without the CA asks for it.
const AUTHORITY_EVERY: Duration = Duration::from_millis(500);

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
    pub(crate) net: Arc<OnceLock<Net>>,
    pub(crate) ring: Ring,
    pub(crate) gossip: GossipHub,
    pub(crate) generation: Generation,
    pub(crate) tasks: Tasks,
    pub(crate) store: Store,
    pub(crate) directory: watch::Sender<Arc<Directory>>,
    pub(crate) consensus: watch::Sender<Consensus>,
    pub(crate) remote: watch::Sender<Remote>,
    pub(crate) info: NodeInfo,
    /// What an embedding program publishes itself; at most [`crate::PUBLISHED_MAX`].
    pub(crate) published: watch::Sender<BTreeMap<TaskId, TaskRecord>>,
    /// This node's certificate, DER.
    pub(crate) certificate: Vec<u8>,
    /// The CA's certificate, DER.
    pub(crate) authority_certificate: Vec<u8>,
    pub(crate) authority: Mutex<Option<Authority>>,
    /// Why tasks wait, by the leader's newest plan; empty elsewhere.
    pub(crate) waiting: ArcSwap<BTreeMap<TaskId, Waiting>>,
    pub(crate) failed_probes: Mutex<BTreeMap<NodeId, Millis>>,
    pub(crate) probing: Mutex<BTreeSet<NodeId>>,
    pub(crate) probed: Notify,
    pub(crate) changing_voters: Arc<Semaphore>,
    pub(crate) names: Arc<ArcSwap<Snapshot>>,
    /// When each owner's set was last changed here, on this node's clock.
    pub(crate) heard: ArcSwap<LastHeard>,
    /// What DNS counts; set once its doors are open.
    pub(crate) dns_meters: OnceLock<DnsMeters>,
    pub(crate) events: Events,
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Whether this node has published what it runs.
    pub(crate) spoken: watch::Sender<bool>,
    pub(crate) leaving: watch::Sender<bool>,
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
    work.await;
}

impl Core {
    /// This node's monotonic time.
    pub(crate) fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The endpoint. Loops run only after it is there.
    pub(crate) fn net(&self) -> &Net {
        self.net.get().expect("loops start after the endpoint")
    }

    /// The node cannot go on; whoever runs it is told.
    pub(crate) fn fail(&self, why: String) {
        tracing::error!(why, "the node cannot go on");
        self.failed.send_replace(Some(why));
    }

    /// Name of a node, as far as known; else its id.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        if id == self.me {
            return self.settings.name.to_string();
        }
        let named = self.directory.borrow().members.get(&id).map(|m| m.name.to_string());
        named.or_else(|| self.gossip.sets().get(&id).map(|s| s.info.name.to_string())).unwrap_or_else(|| id.to_string())
    }

    /// Asks another node.
    pub(crate) async fn ask(&self, node: NodeId, ask: &Ask, limit: Duration) -> Result<Told, CallError> {
        let reply = self.net().call(node, Lane::Control, &encode(ask), limit).await?;
        decode(&reply).map_err(CallError::Broken)
    }

    /// Answers another node.
    pub(crate) async fn answer(&self, from: NodeId, ask: Ask) -> Told {
        match ask {
            Ask::Ping => Told::Yes,
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
            Ask::Submit(command) => Told::Submitted(self.submit_here(command).await),
            Ask::Join(request) => Told::Joined(self.decide_join(request).await),
            Ask::Read(query) => Told::Document(self.read_here(query)),
            Ask::Logs(task, read) => Told::Logs(self.logs_here(&task, &read).await),
        }
    }

    /// Only a voter gets the CA.
    fn give_authority(&self, to: NodeId) -> Told {
        let voter = self.store.leadership().voters.contains(&to);
        let authority = self.authority.lock().expect("no panic while it is held").clone();
        match authority.filter(|_| voter) {
            Some(authority) => {
                let (seed, certificate) = authority.export();
                Told::Authority(seed, certificate)
            }
            None => Told::No,
        }
    }

    /// Gets the CA when this node has come to vote, and deletes it when it has lost its vote.
    pub(crate) async fn run_authority(self: Arc<Self>) {
        loop {
            let voters = self.consensus.borrow().voters.clone();
            let votes = voters.contains(&self.me);
            let has = self.authority.lock().expect("no panic while it is held").is_some();
            if votes && !has {
                self.fetch_authority(&voters).await;
            }
            if !votes && has && !voters.is_empty() {
                *self.authority.lock().expect("no panic while it is held") = None;
                let _ = self.folder.remove(file::AUTHORITY);
                tracing::info!("this node votes no more; its copy of the CA key was deleted");
            }
            tokio::time::sleep(AUTHORITY_EVERY).await;
        }
    }

    async fn fetch_authority(&self, voters: &[NodeId]) {
        for voter in voters.iter().filter(|id| **id != self.me) {
            let told = self.ask(*voter, &Ask::Authority, Duration::from_secs(2)).await;
            if let Ok(Told::Authority(seed, certificate)) = told {
                if sha256(&certificate) != self.store.read(|state| state.ca_hash) {
                    tracing::warn!(from = %voter, "a CA that is not the cluster's was offered");
                    continue;
                }
                let authority = Authority::import(self.cluster, (seed, certificate));
                if self.keep_authority(&authority).is_ok() {
                    tracing::info!(from = %voter, "the CA key was received, as this node votes now");
                    return;
                }
            }
        }
    }

    /// Seals the CA on disk and takes it in use.
    pub(crate) fn keep_authority(&self, authority: &Authority) -> std::io::Result<()> {
        crate::birth::seal_authority(&*self.folder, &*self.entropy, &self.key, authority)?;
        *self.authority.lock().expect("no panic while it is held") = Some(authority.clone());
        Ok(())
    }

    /// Writes a user's command through whoever leads.
    pub(crate) async fn submit(&self, command: Command) -> Result<Fence, ApiError> {
        let deadline = Instant::now() + SUBMIT_LIMIT;
        loop {
            let leader = self.wait_for_leader().await?;
            let result = if leader == self.me {
                self.submit_here(command.clone()).await
            } else {
                match self.ask(leader, &Ask::Submit(command.clone()), SUBMIT_LIMIT).await {
                    Ok(Told::Submitted(result)) => result,
                    // Never sent, or refused before it was looked at: another leader may be there soon.
                    Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Err(self.no_quorum()),
                    Ok(_) | Err(CallError::Refused(_)) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
                    Err(CallError::Timeout | CallError::Broken(_)) => return Err(unknown_outcome()),
                }
            };
            match result {
                Err(e) if e.code == ErrorCode::NoQuorum && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                result => return result,
            }
        }
    }

    /// The leader, or why there is none.
    pub(crate) async fn wait_for_leader(&self) -> Result<NodeId, ApiError> {
        let mut consensus = self.consensus.subscribe();
        let known = timeout(LEADER_WAIT, consensus.wait_for(|c| c.leader.is_some())).await;
        match known {
            Ok(Ok(consensus)) => Ok(consensus.leader.expect("waited for it").0),
            Ok(Err(_)) | Err(_) => Err(self.no_quorum()),
        }
    }

    /// The refusal that says who is missing.
    pub(crate) fn no_quorum(&self) -> ApiError {
        let (consensus, ring) = (self.consensus.borrow().clone(), self.ring.state());
        let silent = |id: &NodeId| *id != self.me && ring.liveness(*id) != Some(taffeta_model::Liveness::Alive);
        let (missing, there): (Vec<NodeId>, Vec<NodeId>) = consensus.voters.iter().partition(|id| silent(id));
        let names = |ids: &[NodeId]| ids.iter().map(|id| self.name_of(*id)).collect::<Vec<_>>().join(", ");
        let message = if missing.is_empty() {
            format!("no leader is known; the voters are {}", names(&there))
        } else {
            format!("no majority of the voters answers: missing {} of {}", names(&missing), names(&consensus.voters))
        };
        ApiError::new(ErrorCode::NoQuorum, message)
            .help("nothing was changed; running tasks and DNS go on. Start the missing machines, then try again")
    }

    /// Writes a user's command; this node must lead.
    async fn submit_here(&self, command: Command) -> Result<Fence, ApiError> {
        match &command {
            Command::Deploy { .. }
            | Command::Scale { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::CreateToken { .. } => {}
            Command::Init { .. }
            | Command::Join { .. }
            | Command::Refresh { .. }
            | Command::Place(_)
            | Command::Remove(_)
            | Command::Finish { .. } => {
                return Err(ApiError::new(ErrorCode::Forbidden, "this is for the leader itself to write"));
            }
        }
        if !self.consensus.borrow().leads {
            return Err(self.no_quorum()); // refused before it is proposed, so that nothing can take effect later
        }
        match self.store.write(command, SUBMIT_LIMIT).await {
            Ok(Outcome::Done(at)) => Ok(at),
            Ok(Outcome::Refused(why)) => Err(refused(&why)),
            Err(WriteError::NotLeader(_)) => Err(self.no_quorum()),
            Err(WriteError::NoQuorum) => Err(unknown_outcome()),
            Err(e @ WriteError::Ended(_)) if planted(Bug::RefuseAndWrite) => {
                Err(ApiError::new(ErrorCode::Failed, e.to_string()))
            }
            Err(e @ WriteError::Ended(_)) => {
                let unknown = unknown_outcome();
                Err(ApiError { message: format!("{e}; it may still take effect"), ..unknown })
            }
        }
    }

    /// Decides whether a machine may join, here if this node leads, else by asking the one that does.
    pub(crate) async fn decide_join(&self, request: JoinRequest) -> Result<Box<Welcome>, String> {
        let not_now = |why: &dyn std::fmt::Display| format!("{NOT_NOW}{why}");
        let leader = self.wait_for_leader().await.map_err(|e| not_now(&e.message))?;
        if leader != self.me {
            return match self.ask(leader, &Ask::Join(request), SUBMIT_LIMIT).await {
                Ok(Told::Joined(result)) => result,
                Ok(_) => Err("an unexpected reply of the leader".into()),
                Err(e) => Err(not_now(&format!("the leader does not answer: {e}"))),
            };
        }
        let key = PublicKey(request.member.public_key);
        let signed = JoinRequest::signed_part(request.token, &request.member);
        if key.node_id() != request.member.id || !key.verify(&signed, &request.signature) {
            return Err("the request is not signed by the key that it names".into());
        }
        let authority = self.authority.lock().expect("no panic while it is held").clone();
        let authority = authority.ok_or_else(|| not_now(&"the leader has no CA key yet"))?;
        let (secret_hash, now) = (sha256(&request.secret), self.clock.date());
        // Looked at before anything is written: a stranger must not be able to fill the log.
        self.store.read(|state| state.check_token(request.token, &secret_hash, now)).map_err(|why| why.to_string())?;
        let join = Command::Join { token: request.token, secret_hash, now, member: request.member };
        match self.store.write(join, SUBMIT_LIMIT).await {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Refused(why)) => return Err(why.to_string()),
            Err(e) => return Err(not_now(&e)),
        }
        let certificate = authority.certify(key, self.clock.date()).map_err(|e| e.to_string())?;
        tracing::info!(node = %key.node_id(), "a machine joined");
        Ok(Box::new(self.store.read(|state| Welcome {
            cluster: state.cluster,
            certificate,
            authority: authority.certificate().to_vec(),
            members: state.members.values().map(|m| (m.id, m.address)).collect(),
            voters: self.consensus.borrow().voters.clone(),
            directory: state.directory(),
        })))
    }

    /// Publishes this node's records whenever they change.
    pub(crate) async fn run_publish(self: Arc<Self>) {
        let (mut records, mut published) = (self.tasks.records(), self.published.subscribe());
        // Peers keep the set of the earlier life until the first of this one is there. It waits until what was taken up
        // again has been checked, or else tasks that never stopped would vanish from DNS for a moment.
        let checked = records.wait_for(|all| all.iter().all(|r| r.serving || r.pid.is_none()));
        let _ = timeout(RECHECK_WAIT, checked).await;
        loop {
            let own = Arc::clone(&records.borrow_and_update());
            let extra = published.borrow_and_update().clone();
            let foreign = planted(Bug::PublishForeignRecord).then(|| self.gossip.foreign_record()).flatten();
            let all = own.iter().cloned().chain(extra.into_values()).chain(foreign).collect();
            self.gossip.publish(self.info.clone(), all);
            self.spoken.send_replace(true);
            tokio::select! {
                changed = records.changed() => if changed.is_err() { return },
                changed = published.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Remembers where other members are, so that a restart finds the ring.
    pub(crate) async fn run_upkeep(self: Arc<Self>) {
        let mut stored = BTreeMap::new();
        loop {
            let ring = self.ring.state();
            let peers: BTreeMap<_, _> = ring.members.iter().map(|(id, m)| (*id, m.identity.address)).collect();
            if peers != stored && !peers.is_empty() {
                match crate::folder::save(&*self.folder, file::PEERS, &peers) {
                    Ok(()) => stored = peers,
                    Err(error) => tracing::error!(%error, "the member list could not be stored"),
                }
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
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

fn unknown_outcome() -> ApiError {
    ApiError::new(ErrorCode::Timeout, "no majority of the voters acknowledged in time; it may still take effect")
        .help("look at `taffeta status` and at what is there before you try again")
}

/// A refusal for people.
pub(crate) fn refused(why: &Refusal) -> ApiError {
    let message = why.to_string();
    match why {
        Refusal::UnknownApp(_) | Refusal::UnknownJob(..) | Refusal::UnknownMember(_) => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta apps` lists what is there")
        }
        Refusal::Invalid { field, .. } => ApiError::new(ErrorCode::Invalid, message).field(field.clone()),
        Refusal::AlreadyInitialised
        | Refusal::UnknownToken
        | Refusal::WrongSecret
        | Refusal::TokenExpired(_)
        | Refusal::TokenUsedUp(_)
        | Refusal::NameTaken(..)
        | Refusal::AddressTaken(..)
        | Refusal::KeyMismatch(_)
        | Refusal::Full(..)
        | Refusal::Outdated => ApiError::new(ErrorCode::Conflict, message),
    }
}
