//! The parts of a running node, and what they share.

use crate::{
    api::{ApiError, ErrorCode},
    asking::is_not_known,
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
    wire::{Ask, JoinRequest, Told, Veiled, Welcome},
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
    App, Bug, ClusterId, Command, Directory, Fence, Liveness, Millis, NodeId, NodeInfo, NodeName, Outcome, Refusal,
    TaskId, TaskRecord, UnixMillis, planted,
};
use taffeta_net::{Authority, CallError, Clock, Credentials, Entropy, Net, NodeKey, PublicKey, sha256};
use taffeta_scheduler::Waits;
use taffeta_store::{
    Store, WriteError,
    voters::{Evidence, majority},
};
use taffeta_swim::FACTS_MAX;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};

/// How long a request waits for a leader to be elected before it is refused.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// How long a write that found no leader waits for news before it looks again.
const SUBMIT_PAUSE: Duration = Duration::from_millis(20);
/// How many nodes in turn are believed who leads, before that pause.
const HOPS_MAX: usize = 2;
/// How long a leader's answer is still waited for after another one leads, if it lives: longer than a heartbeat, which
/// tells it that what it was asked is written.
const OVERTAKEN: Duration = Duration::from_millis(150);
/// How long a user's write may take.
const SUBMIT_LIMIT: Duration = Duration::from_secs(8);
/// How long a write waits for a leader with room on its disk to take over from one without.
const HEIR_WAIT: Duration = Duration::from_secs(3);
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
    /// Why this node is no member any more, since a voter has told so.
    pub(crate) removed: watch::Sender<Option<&'static str>>,
    pub(crate) keyring: Keyring,
    pub(crate) leases: Leases,
    /// Why tasks wait, by the leader's newest plan; empty elsewhere.
    pub(crate) waiting: ArcSwap<Waits>,
    pub(crate) failed_probes: Mutex<BTreeMap<NodeId, Millis>>,
    pub(crate) probing: Mutex<BTreeSet<NodeId>>,
    pub(crate) probed: Notify,
    pub(crate) changing_voters: Arc<Semaphore>,
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

    /// The next of the instants, `every` apart since this node's start, at which it looks after what nobody tells it. All
    /// loops look at the same instants: an idle node wakes up seldom.
    pub(crate) fn next_beat(&self, every: Duration) -> Instant {
        let every = every.as_millis().max(1);
        let beats = self.epoch.elapsed().as_millis() / every + 1;
        self.epoch + Duration::from_millis(u64::try_from(beats * every).unwrap_or(u64::MAX))
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

    /// Writes a user's command through whoever leads. It is tried again only while it is sure that nothing was written.
    pub(crate) async fn submit(&self, command: Command) -> Result<Fence, ApiError> {
        let deadline = Instant::now() + SUBMIT_LIMIT;
        let (mut hint, mut hops) = (None, 0);
        let heirs_until = Instant::now() + HEIR_WAIT;
        loop {
            let leader = match hint.take() {
                Some(leader) => leader,
                None => self.wait_for_leader().await?,
            };
            let mut news = self.consensus.subscribe();
            let tried = if leader == self.me {
                self.submit_here(command.clone()).await
            } else {
                Box::pin(self.submit_to(leader, command.clone())).await // a large future, which few need
            };
            match tried {
                // It hands the leadership over, if there is somebody with room who can take it.
                Tried::Ended(Err(e))
                    if e.code == ErrorCode::DiskFull && self.has_heirs() && Instant::now() < heirs_until =>
                {
                    drop(timeout(SUBMIT_PAUSE, news.changed()).await);
                }
                Tried::Ended(result) => return result,
                Tried::Elsewhere(_) if Instant::now() >= deadline => return Err(self.no_quorum()),
                // While leaders change, two nodes may take each other for the leader.
                Tried::Elsewhere(Some(other)) if other != leader && hops < HOPS_MAX => {
                    (hint, hops) = (Some(other), hops + 1);
                }
                // There may be a leader soon, or the same one may have its quorum again.
                Tried::Elsewhere(_) => {
                    hops = 0;
                    let _ = timeout(SUBMIT_PAUSE, news.changed()).await;
                }
            }
        }
    }

    /// Lets another node write a user's command.
    async fn submit_to(&self, leader: NodeId, command: Command) -> Tried {
        let level = command.level();
        let ask = Ask::Submit(command);
        let asked = self.ask(leader, &ask, SUBMIT_LIMIT);
        // If another leads meanwhile, what was asked is written by now or never will be: it need not be waited for.
        let mut known = self.consensus.subscribe();
        let before = known.borrow_and_update().leader;
        let overtaken = async {
            let other = |c: &Consensus| c.leader != before && c.leader.is_some_and(|(other, _)| other != leader);
            let _ = known.wait_for(other).await;
            let answers = self.net().probe_live(leader, OVERTAKEN / 5).await;
            if answers == Some(true) {
                tokio::time::sleep(OVERTAKEN).await;
            }
        };
        let told = tokio::select! {
            told = asked => told,
            () = overtaken => return Tried::Ended(Err(unknown_outcome())),
        };
        match told {
            Ok(Told::Submitted(result)) => Tried::Ended(result),
            Ok(Told::Elsewhere(other)) => Tried::Elsewhere(other),
            // Never sent, or refused before it was looked at: another leader may be there soon.
            Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Tried::Elsewhere(None),
            Ok(_) => Tried::Ended(Err(ApiError::new(ErrorCode::Failed, "an unexpected reply"))),
            Err(CallError::Refused(why)) if why.starts_with(NOT_NOW) => Tried::Elsewhere(None),
            // A leader of an older version: not all members speak what this command needs.
            Err(CallError::Refused(why)) if is_not_known(&why) => {
                Tried::Ended(Err(refused(&Refusal::AboveLevel(level))))
            }
            Err(CallError::Refused(why)) => Tried::Ended(Err(ApiError::new(ErrorCode::Failed, why))),
            Err(CallError::Timeout | CallError::Broken(_)) => Tried::Ended(Err(unknown_outcome())),
        }
    }

    /// The leader, or why there is none.
    pub(crate) async fn wait_for_leader(&self) -> Result<NodeId, ApiError> {
        if let Some((leader, _)) = self.consensus.borrow().leader {
            return Ok(leader);
        }
        let mut consensus = self.consensus.subscribe();
        let known = timeout(LEADER_WAIT, consensus.wait_for(|c| c.leader.is_some())).await;
        match known {
            Ok(Ok(consensus)) => Ok(consensus.leader.expect("waited for it").0),
            Ok(Err(_)) | Err(_) => Err(self.no_quorum()),
        }
    }

    /// The refusal that says who is missing, since when, and what to do.
    pub(crate) fn no_quorum(&self) -> ApiError {
        let voters = self.consensus.borrow().voters.clone();
        let missing = self.missing_voters();
        let names = |ids: &[NodeId]| ids.iter().map(|id| self.name_of(*id)).collect::<Vec<_>>().join(", ");
        if voters.is_empty() {
            return ApiError::new(ErrorCode::NoQuorum, "no leader is known, and no member that could name the voters")
                .help("nothing was changed. Are other machines of the cluster running, and does UDP reach them?");
        }
        let needed = majority(voters.len());
        let there = voters.len() - missing.len();
        let message = if there >= needed {
            format!("no leader is known; the voters are {}", names(&voters))
        } else {
            let since: Vec<String> = missing.iter().map(|id| self.absence(*id)).collect();
            format!(
                "no majority of the voters answers: missing {} of {}; {needed} of {} are needed",
                since.join(", "),
                names(&voters),
                voters.len()
            )
        };
        let help = if there >= needed {
            "nothing was changed; running tasks and DNS go on. Try again in a moment"
        } else {
            "nothing was changed; running tasks and DNS go on. Start the missing machines, then try again; if they are lost \
             for good, `taffeta recover` on a machine that is left gives the others a quorum again"
        };
        ApiError::new(ErrorCode::NoQuorum, message).help(help)
    }

    /// Voters that do not answer as far as the ring tells.
    pub(crate) fn missing_voters(&self) -> Vec<NodeId> {
        let ring = self.ring.state();
        let silent = |id: &NodeId| *id != self.me && ring.liveness(*id) != Some(Liveness::Alive);
        self.consensus.borrow().voters.iter().copied().filter(silent).collect()
    }

    /// Name of a node that is missing, and since when it is.
    pub(crate) fn absence(&self, node: NodeId) -> String {
        let name = self.name_of(node);
        match self.ring.state().members.get(&node) {
            Some(member) => {
                let since = member.suspect_since.unwrap_or(member.since);
                let word = match member.liveness {
                    Liveness::Alive | Liveness::Suspect => "silent",
                    Liveness::Down => "down",
                    Liveness::Left => "stopped",
                };
                format!("{name} ({word} for {} s)", self.now().since(since).as_secs())
            }
            None => format!("{name} (not met since this node started)"),
        }
    }

    fn has_heirs(&self) -> bool {
        self.consensus.borrow().voters.len() > 1
    }

    /// The refusal of a leader without room. Another voter may lead in a moment; a lone one has nobody to hand over to.
    pub(crate) fn disk_full(&self) -> ApiError {
        let message = format!("the disk of {} is full: writes are refused until there is room", self.name());
        ApiError::new(ErrorCode::DiskFull, message)
            .help("nothing was changed; running tasks, reads and DNS go on. Make room on its disk, then try again")
    }

    /// Writes a user's command; this node must lead.
    async fn submit_here(&self, command: Command) -> Tried {
        match &command {
            Command::Deploy { .. }
            | Command::Scale { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::CreateToken { .. }
            | Command::RevokeToken { .. }
            | Command::RemoveSecret { .. }
            | Command::SetQuota { .. }
            | Command::RemoveQuota { .. }
            | Command::Drain { .. }
            | Command::Rollback { seen_version: None, reason: None, .. }
            | Command::Pause { .. }
            | Command::Maintain { .. }
            | Command::ResetVolume { .. }
            | Command::RemoveVolume { .. }
            | Command::BlockChaos(_)
            | Command::OptIntoChaos { .. }
            | Command::Promote { seen_version: None, .. }
            | Command::Run { .. } => {}
            Command::Init { .. }
            | Command::RaiseLevel(_)
            | Command::Started { .. }
            | Command::Join { .. }
            | Command::Refresh { .. }
            | Command::RemoveMember { .. }
            | Command::RotateAuthority { .. }
            | Command::FinishRotation { .. }
            | Command::Place(_)
            | Command::Remove(_)
            | Command::Fire(_)
            | Command::Finish { .. }
            | Command::Release(_)
            | Command::Settle { .. }
            | Command::Autoscale { .. }
            | Command::Rollback { .. }
            | Command::Promote { .. }
            | Command::SetSecret { .. } => {
                let refusal = ApiError::new(ErrorCode::Forbidden, "this is for the leader itself to write");
                return Tried::Ended(Err(refusal));
            }
        }
        let known = self.consensus.borrow().leader;
        // A log that has just begun has its first entry to come: nothing may stand before the cluster's birth.
        let unborn = self.store.read(|state| state.cluster == ClusterId::default());
        if !self.consensus.borrow().leads || unborn {
            // Refused before it is proposed, so that nothing can take effect later.
            return Tried::Elsewhere(known.map(|(leader, _)| leader).filter(|leader| *leader != self.me));
        }
        if let Command::Deploy { app, now } = &command
            && let Err(refusal) = self.check_schedules(app, *now)
        {
            return Tried::Ended(Err(refusal));
        }
        self.try_write_here(command).await
    }

    /// Refuses cron jobs that are never due again. It is not for the state to do: that must not depend on the time zones
    /// that a binary knows.
    pub(crate) fn check_schedules(&self, app: &App, now: UnixMillis) -> Result<(), ApiError> {
        let checked = self.store.read(|state| {
            let known = state.apps.get(&app.name).map(|known| &*known.app);
            app.check_schedules(now, known)
        });
        checked.map_err(|e| refused(&Refusal::Invalid { field: e.field, message: e.message }))
    }

    /// Writes a command that has been checked; this node must lead.
    pub(crate) async fn write_here(&self, command: Command) -> Result<Fence, ApiError> {
        match self.try_write_here(command).await {
            Tried::Ended(result) => result,
            Tried::Elsewhere(_) => Err(self.no_quorum()),
        }
    }

    async fn try_write_here(&self, command: Command) -> Tried {
        let odd =
            matches!(&command, Command::CreateToken { token, .. } if token.uses.is_some_and(|uses| uses % 2 == 1));
        if planted(Bug::LoseOrder) && odd {
            let store = self.store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                store.write(command, SUBMIT_LIMIT).await
            });
            return Tried::Ended(Ok(self.store.read(|state| state.applied)));
        }
        Tried::Ended(match self.store.write(command, SUBMIT_LIMIT).await {
            Ok(Outcome::Done(at)) => Ok(at),
            Ok(Outcome::Refused(why)) => Err(refused(&why)),
            Err(WriteError::NotLeader(other)) => return Tried::Elsewhere(other),
            Err(WriteError::DiskFull) => Err(self.disk_full()),
            Err(WriteError::NoQuorum) if planted(Bug::AcknowledgeAlone) => Ok(self.store.read(|state| state.applied)),
            Err(e @ (WriteError::NoQuorum | WriteError::Ended(_))) if planted(Bug::RefuseAndWrite) => {
                Err(ApiError::new(ErrorCode::Failed, e.to_string()))
            }
            Err(WriteError::NoQuorum) => Err(unknown_outcome()),
            Err(e @ WriteError::Ended(_)) => {
                let unknown = unknown_outcome();
                Err(ApiError { message: format!("{e}; it may still take effect"), ..unknown })
            }
        })
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
        let level = self.store.read(taffeta_model::State::spoken_level);
        if request.speaks.max < level {
            return Err(format!(
                "all members speak version {level} of the protocol, and this machine {OLD_VERSION} {}: upgrade it",
                request.speaks
            ));
        }
        let authority = self.signing_authority().ok_or_else(|| not_now(&"the leader has no CA key yet"))?;
        let (secret_hash, now) = (sha256(&request.secret), self.clock.date());
        // Looked at before anything is written: a stranger must not be able to fill the log.
        self.store.read(|state| state.check_token(request.token, &secret_hash, now)).map_err(|why| why.to_string())?;
        let join = Command::Join { token: request.token, secret_hash, now, member: request.member };
        match self.store.write(join, SUBMIT_LIMIT).await {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Refused(why)) => return Err(why.to_string()),
            Err(e) => return Err(not_now(&e)),
        }
        let certificate = authority
            .certify(key, self.dates.agreed(), self.certificate_lives.certificate)
            .map_err(|e| e.to_string())?;
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

/// What became of a write.
enum Tried {
    /// It was written or refused, or nobody knows.
    Ended(Result<Fence, ApiError>),
    /// Nothing was written, since another one leads: that one, if one is known.
    Elsewhere(Option<NodeId>),
}

pub(crate) fn unknown_outcome() -> ApiError {
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
        Refusal::UnknownSecret { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta secret list` lists what is there")
        }
        Refusal::NoSuchVersion { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta apps -o json` tells the present version")
        }
        Refusal::UnknownVolume { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta volume list` lists what is there")
        }
        Refusal::UnknownQuota(_) => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta quota list` lists what is there")
        }
        Refusal::SecretInUse { .. } => ApiError::new(ErrorCode::Conflict, message)
            .help("take it out of those apps first, or remove it regardless: --force"),
        Refusal::Invalid { field, .. } => ApiError::new(ErrorCode::Invalid, message).field(field.clone()),
        Refusal::AlreadyInitialised
        | Refusal::UnknownToken
        | Refusal::WrongSecret
        | Refusal::TokenExpired(_)
        | Refusal::TokenUsedUp(_)
        | Refusal::NameTaken(..)
        | Refusal::AddressTaken(..)
        | Refusal::KeyMismatch(_)
        | Refusal::RemovedKey(_)
        | Refusal::LastMember(_)
        | Refusal::RotationUnderWay
        | Refusal::NoRotation
        | Refusal::Full(..)
        | Refusal::Outdated
        | Refusal::RunUnderWay(..)
        | Refusal::VolumeInUse { .. }
        | Refusal::AboveLevel(_) => ApiError::new(ErrorCode::Conflict, message),
    }
}
