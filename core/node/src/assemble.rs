//! How a node comes up: what it is made of is put together, and it takes its place in the ring.

use crate::{
    api::ErrorCode,
    around::Surroundings,
    birth::{self, Born},
    chaos::{self, Chaos, Dns, FullFiles, FullFolder, HeardFaults, ShiftedClock, Switches},
    config::{FabricConfig, check_isolation, check_listeners, load_settings, reachable, settings},
    consensus::{Consensus, Remote, introduce},
    dates::Dates,
    doors::Doors,
    events::Events,
    fabric::Fabric,
    fence,
    fetch::{FetchLimits, Fetcher},
    folder::{DiskFolder, Folder, Membership, Settings, file, load, save},
    format,
    generation::Generation,
    gossip::{GossipHub, GossipParts},
    ground::{bind_patiently, check_whole, open_log, time_zero},
    keyring::{self, Keyring},
    leases::Leases,
    lives::Lives,
    machine::{self, Offer},
    node::{Core, guarded},
    place,
    raft::RaftTransport,
    ring::{Flaps, RingDriver},
    service::Inlet,
    shelf::Shelf,
    start_error::{StartError, cannot_bind, folder_error, lacks, store_error},
    task_dns::TaskNames,
    tasks::{Place, TasksDriver},
    world::{SystemProber, World},
};
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::Duration,
};
use taffeta_dns_answer::{Name, Snapshot, SnapshotInput};
use taffeta_dns_server::Upstreams;
use taffeta_isolation_linux::{LinuxConfig, LinuxExecutor};
use taffeta_isolation_plan::Executor;
use taffeta_model::{AssignedSet, Command, Directory, Life, NodeId, NodeInfo, State};
use taffeta_net::{
    CONNECTIONS_MAX, Clock, Credentials, Entropy, FaultySocket, Identity, LinkFaults, Net, NetConfig, NodeKey, Service,
    SystemClock, SystemEntropy, Unjoined, sha256,
};
use taffeta_store::{Driver, Leadership, SNAPSHOT_EVERY, SegmentDisk, Sizes, Store, StoreConfig};
use taffeta_swim::{Identity as RingIdentity, Incarnation, Swim};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::Instant,
};

/// The folder of this program, in which tasks find it and what lies beside it.
fn programs() -> Option<PathBuf> {
    std::env::current_exe().ok().and_then(|exe| exe.parent().map(Into::into))
}

impl Fabric {
    /// Starts a node on this machine: creates a cluster, joins one, or goes on where the data folder's node stopped.
    pub fn start(config: FabricConfig) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::start_here(config))
    }

    async fn start_here(config: FabricConfig) -> Result<Self, StartError> {
        let folder = Arc::new(DiskFolder::open(&config.data).map_err(folder_error)?);
        chaos::make_room(&config.data);
        format::check(&*folder)?;
        check_whole(&*folder, &config.data)?;
        place::check(&*folder, config.moved)?;
        let settings = settings(&config, load_settings(&*folder)?)?;
        check_listeners(&config, &settings)?;
        let key = birth::key(&*folder, &SystemEntropy)?;
        let data = config.data.canonicalize()?;
        let mut linux = LinuxConfig::new(data.join("tasks"), key.public().node_id().to_string());
        linux.best_effort = settings.best_effort;
        linux.hidden = vec![data.clone()];
        linux.masked = config.masked.iter().chain(&settings.dns_options.key).cloned().collect();
        linux.shown = programs().into_iter().chain(std::env::current_exe()).collect();
        if let Some(shim) = &config.shim {
            linux.shim = shim.clone();
        }
        let socket = bind_patiently(settings.address)
            .await
            .map_err(|e| cannot_bind(settings.address, "fabric", "--address", &e))?;
        let mut settings = settings;
        if settings.advertise.port() == 0 {
            settings.advertise.set_port(socket.local_addr()?.port());
        }
        let executor = Arc::new(LinuxExecutor::new(linux).map_err(StartError::failed)?);
        let started = Self::start_on(config, settings, key, folder, socket, Arc::clone(&executor)).await;
        if started.is_err() {
            executor.tidy().await; // a node that did not start leaves no cgroup
        }
        started
    }

    async fn start_on(
        config: FabricConfig,
        settings: Settings,
        key: NodeKey,
        folder: Arc<DiskFolder>,
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        executor: Arc<LinuxExecutor>,
    ) -> Result<Self, StartError> {
        check_isolation(&executor, settings.best_effort)?;
        let _ = machine::metrics_handle(); // before anything takes a counter from it
        let mut log = open_log(&config.data, key.public().node_id()).await?;
        let mut clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut socket = socket;
        let mut folder: Arc<dyn Folder> = folder;
        let switches = config.chaos.then(|| {
            let links = Arc::new(LinkFaults::new(SystemEntropy.seed()));
            socket = FaultySocket::new(Arc::clone(&socket), Arc::clone(&links));
            let shifted = Arc::new(ShiftedClock::new(Arc::clone(&clock)));
            clock = Arc::clone(&shifted) as Arc<dyn Clock>;
            let disk = Arc::default();
            folder = Arc::new(FullFolder(Arc::clone(&folder), Arc::clone(&disk)));
            log = Arc::new(FullFiles(Arc::clone(&log), Arc::clone(&disk)));
            Switches { links, clock: shifted, disk, dns: OnceLock::new() }
        });
        let data = config.data.canonicalize()?;
        let chaos = Chaos::open(&data, config.shim.as_deref(), &*folder, &SystemEntropy, switches)?;
        let world = World {
            clock,
            entropy: Arc::new(SystemEntropy),
            crypto: taffeta_net::crypto(),
            socket,
            folder,
            log,
            log_sizes: Sizes::default(),
            driver: Driver::Thread,
            executor,
            prober: Arc::new(SystemProber),
            upstreams: Upstreams::system(),
            api_socket: Some(config.data.join("api.sock")),
            programs: programs(),
            snapshot_every: SNAPSHOT_EVERY,
        };
        Self::assemble(config, settings, key, (world, Some(Arc::new(chaos)))).await
    }

    /// Starts a node in a world of the caller's: the very code that runs on a machine, with nothing of the machine.
    /// `config.data` names no folder then, and `config.serve` had better be off.
    pub fn start_in(config: FabricConfig, world: World) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::start_there(config, world))
    }

    async fn start_there(config: FabricConfig, world: World) -> Result<Self, StartError> {
        format::check(&*world.folder)?;
        place::check(&*world.folder, config.moved)?;
        let settings = settings(&config, load_settings(&*world.folder)?)?;
        let key = birth::key(&*world.folder, &*world.entropy)?;
        Self::assemble(config, settings, key, (world, None)).await
    }

    async fn assemble(
        config: FabricConfig,
        settings: Settings,
        key: NodeKey,
        (world, chaos): (World, Option<Arc<Chaos>>),
    ) -> Result<Self, StartError> {
        config.join.iter().try_for_each(|address| birth::check_seed(address))?;
        let key = Arc::new(key);
        let dates = Arc::new(Dates::new(world.clock, config.lives.certificate));
        let clock = Arc::clone(&dates) as Arc<dyn Clock>;
        let crypto = Arc::clone(&world.crypto);
        let mut seed = [0; 32];
        world.entropy.fill(&mut seed);
        let net_config = NetConfig {
            socket: world.socket,
            crypto: world.crypto,
            runtime: Arc::new(taffeta_net::FabricRuntime),
            clock: Arc::clone(&clock),
            lives: config.lives,
            seed,
            connections_max: CONNECTIONS_MAX,
            segmentation_offload: !settings.no_gso,
            versions: config.speaks,
        };
        let endpoint = Unjoined::new(net_config, &key).map_err(StartError::failed)?;
        let offer = Offer::of(&config, &settings);
        let member = birth::member(&settings, key.public(), &offer);
        let folder = Arc::clone(&world.folder);
        let mut born = match be_born(&config, (&*folder, &*world.entropy, &*clock), &endpoint, &member, &key).await {
            Ok(born) => born,
            Err(error) => {
                endpoint.close().await; // frees the port for another try
                return Err(error);
            }
        };
        let starts = birth::count_start(&*folder)?;
        let identity = Identity {
            cluster: born.membership.cluster,
            key: Arc::clone(&key),
            certificate: born.papers.certificate.clone(),
            authorities: born.papers.authorities.clone(),
            crosses: born.papers.crosses.clone(),
        };
        let me = identity.id();
        let credentials = Arc::new(Credentials::new(identity, crypto).map_err(StartError::failed)?);
        let epoch = time_zero(config.began);
        let mut loops = JoinSet::new();
        let failed = watch::Sender::new(None);
        let net = Arc::new(OnceLock::new());
        let generation = Generation::default();
        let log = SegmentDisk::open(world.log, me, world.log_sizes).map_err(|e| store_error(e.into()))?;
        let log = fence::put_aside(&*folder, Box::new(log))?;
        if let Some(recovery) = fence::known_recovery(&*folder)? {
            generation.adopt(&recovery);
        }
        let welcome = born.welcome.as_ref();
        let directory: Option<Directory> = match welcome {
            Some(welcome) => Some(welcome.directory.clone()),
            None => load(&*folder, file::DIRECTORY)?,
        };
        let directory = directory.unwrap_or_default();
        // The stored list of peers is what the ring knew at the end, which may be little. The directory knows all.
        let mut peers: BTreeMap<_, _> = directory.members.iter().map(|(id, member)| (*id, member.address)).collect();
        peers.append(&mut born.peers);
        born.peers = peers;
        let inlet = Arc::new(Inlet::default());
        let started = endpoint
            .start_with(Arc::clone(&credentials), starts, Arc::clone(&inlet) as Arc<dyn Service>)
            .map_err(StartError::failed)?;
        let mut unless_up = ClosedUnlessUp(Some(started.clone()));
        for (id, address) in &born.peers {
            started.set_address(*id, *address);
        }
        introduce(&started, me, &Directory::default(), &directory);
        // Before the log is opened and tasks are looked for: a copy must touch nothing that is the original's.
        let wanted = place::Wanted { me, own: settings.advertise, moved: config.moved };
        place::check_alone(&started, &wanted, &generation, &directory).await?;
        let life = Life { start: starts, nonce: world.entropy.seed() };
        let lives = Arc::new(Lives::new(birth::begin_life(&*folder, life)?, generation.clone()));
        let store = Store::open(StoreConfig {
            id: me,
            disk: log,
            driver: world.driver,
            seed: world.entropy.seed(),
            transport: Arc::new(RaftTransport { net: Arc::clone(&net), lives: Arc::clone(&lives) }),
            snapshot_every: world.snapshot_every,
            timers: settings.ring.timers(),
            epoch,
            speaks: config.speaks.max,
        })
        .await
        .map_err(store_error)?;
        let recovery = store.read(|state| {
            lives.learn(me, &state.lives);
            state.recovery.clone()
        });
        if let Some(recovery) = recovery {
            generation.adopt(&recovery);
        }
        if lives.is_over() {
            return Err(place::mark_stale(&*folder));
        }
        let directory = watch::Sender::new(Arc::new(directory));
        let ring_identity = RingIdentity {
            id: me,
            address: settings.advertise,
            incarnation: Incarnation { start: starts, renewal: 0 },
        };
        let size = born.peers.len() + 1;
        let swim = Swim::new(taffeta_model::Millis(0), ring_identity, settings.ring.swim(size), world.entropy.seed());
        let (raised, holder) = (Arc::clone(&folder), store.clone());
        let ring = RingDriver {
            swim: swim.map_err(StartError::failed)?,
            flaps: Flaps::default(),
            preset: settings.ring,
            generation: generation.clone(),
            net: Arc::clone(&net),
            epoch,
            raise: Box::new(move |start| {
                let Leadership { voters, learners, .. } = holder.leadership();
                if voters.contains(&me) || learners.contains(&me) {
                    return false;
                }
                if let Err(error) = save(&*raised, file::STARTS, &start) {
                    tracing::error!(%error, "the raised start counter could not be stored");
                }
                true
            }),
            failed: failed.clone(),
        }
        .spawn(&mut loops);
        let gossip = GossipHub::new(GossipParts {
            me,
            key: Arc::clone(&key),
            starts,
            net: Arc::clone(&net),
            ring: ring.clone(),
            directory: directory.subscribe(),
            entropy: Arc::clone(&world.entropy),
            generation: generation.clone(),
            epoch,
        });
        let address = settings.advertise.ip();
        let dns_for_tasks = settings.dns.filter(|_| config.serve.dns).map(|dns| reachable(dns, address));
        let place = Place { node: settings.name.clone(), address, dns: dns_for_tasks, programs: world.programs };
        let task_names = if config.serve.dns {
            TaskNames::open(&*folder, settings.task_options.dns, settings.advertise, settings.dns)?
        } else {
            TaskNames::default()
        };
        let keyring = Keyring::open(&*folder, &key, born.membership.cluster)?;
        let shelf =
            Shelf::open(born.membership.cluster, Arc::clone(&folder), Arc::clone(&key), Arc::clone(&world.entropy));
        let tasks_driver = TasksDriver {
            shelf: Arc::clone(&shelf),
            executor: Arc::clone(&world.executor),
            prober: Arc::clone(&world.prober),
            folder: Arc::clone(&folder),
            place,
            around: surroundings(&config, &settings, &*folder, &task_names),
            drain: settings.dns_options.drain(),
            offer: offer.clone(),
            epoch,
            failed: failed.clone(),
        };
        let persisted: Option<AssignedSet> = load(&*folder, file::ASSIGNED)?;
        let tasks = tasks_driver.spawn(persisted, &mut loops).await;
        let partial = world.executor.permitted().measures.remarks();
        let gaps = world.executor.not_isolated().into_iter().chain(partial).chain(task_names.gap.clone());
        let gaps: Vec<String> = gaps.inspect(|gap| tracing::warn!("not in force on this machine: {gap}")).collect();
        let info = node_info(&config, &settings, offer, gaps);
        // After a recovery it is known who votes, whatever else is forgotten.
        let recovered = generation.recovery().map(|recovery| vec![recovery.node]).unwrap_or_default();
        let remote = Remote { voters: welcome.map_or(recovered, |w| w.voters.clone()), ..Remote::default() };
        let domain: Name = config.domain.parse().map_err(|e: taffeta_dns_answer::InvalidDnsName| {
            StartError::new(ErrorCode::Invalid, format!("`{}` is not a DNS domain: {e}", config.domain))
        })?;
        let ttl = settings.dns_options.ttl();
        let names = Snapshot::build(SnapshotInput {
            ttl,
            negative_ttl: ttl,
            aliases: settings.dns_options.zones(),
            ..SnapshotInput::new(domain, settings.name.to_string())
        });
        let core = Arc::new(Core {
            me,
            cluster: born.membership.cluster,
            settings: settings.clone(),
            domain: config.domain.clone(),
            key: Arc::clone(&key),
            epoch,
            clock,
            entropy: world.entropy,
            folder: Arc::clone(&folder),
            executor: world.executor,
            prober: world.prober,
            net: Arc::clone(&net),
            ring,
            gossip,
            generation,
            shown: Mutex::default(),
            lives,
            tasks,
            store,
            directory,
            directory_unstored: AtomicBool::new(false),
            consensus: watch::Sender::new(Consensus::default()),
            remote: watch::Sender::new(remote),
            info,
            published: watch::Sender::new(BTreeMap::new()),
            certificate_lives: config.lives,
            dates,
            credentials: Arc::clone(&credentials),
            issuer: watch::Sender::new(born.papers.issuer),
            papers: Mutex::new(born.papers.clone()),
            authorities: Mutex::new(born.authorities.clone()),
            removed: watch::Sender::new(None),
            keyring,
            leases: Leases::default(),
            waiting: ArcSwap::default(),
            failed_probes: Mutex::default(),
            probing: Mutex::default(),
            probed: Notify::new(),
            changing_voters: Arc::new(Semaphore::new(1)),
            planning: Arc::default(),
            asking_holders: Arc::new(Semaphore::new(1)),
            evidence: Mutex::default(),
            names: Arc::new(ArcSwap::from_pointee(names)),
            heard: ArcSwap::default(),
            dns_meters: OnceLock::new(),
            events: Events::default(),
            failed,
            restart: watch::Sender::new(false),
            spoken: watch::Sender::new(false),
            leaving: watch::Sender::new(false),
            chaos,
            heard_faults: HeardFaults::default(),
        });

        shelf.connect(&core);
        core.check_level(core.store.read(State::spoken_level)).map_err(|why| {
            StartError::new(ErrorCode::Conflict, why)
                .help("start the version of taffeta that ran here last, or a newer one")
        })?;
        let doors = Doors::open(&core, world.upstreams, world.api_socket, task_names.sockets)?;
        let responder = Arc::clone(&doors.responder);
        if let Some(hurt) = core.chaos.as_ref().and_then(|chaos| chaos.hurt()) {
            let _ = hurt.switches.dns.set(Dns(Arc::clone(&responder)));
        }
        let _ = net.set(started);
        inlet.open(&core);
        place::bind(&*folder)?;
        remember(&*folder, me, &settings, &born)?;
        spawn_loops(&core, &mut loops);
        if !config.join.is_empty() {
            loops.spawn(guarded("seek", core.failed.clone(), Arc::clone(&core).run_seek(config.join.clone())));
        }
        unless_up.0 = None;
        let mut fabric = Self { core, responder, doors: Some(doors), loops };
        fabric.enter_ring(born, &member).await?;
        Ok(fabric)
    }

    /// Meets the ring, and, in a cluster that was created now, makes the first entry of its log.
    async fn enter_ring(&mut self, born: Born, member: &taffeta_model::Member) -> Result<(), StartError> {
        let core = Arc::clone(&self.core);
        let core = &core;
        let others = born.peers.into_iter().filter(|(id, _)| *id != core.me).collect::<Vec<_>>();
        if others.is_empty() {
            core.gossip.set_complete(); // there is nobody to ask
        } else {
            let learn = core.gossip.clone().learn_all(others.clone());
            self.loops.spawn(guarded("newcomer", core.failed.clone(), learn));
        }
        core.ring.join(others).await;
        let Some(admin_token_hash) = born.created.or_else(|| interrupted_birth(core)) else { return Ok(()) };
        if !core.store.is_initialised().await {
            core.store.initialise(core.settings.advertise).await.map_err(StartError::failed)?;
        }
        let init = Command::Init {
            cluster: core.cluster,
            ca_hash: core.papers().signing(),
            admin_token_hash,
            member: member.clone(),
            kek_hash: core.keyring.kek().ok_or_else(|| StartError::damaged("kek.sealed"))?.hash(),
            recovery_key: keyring::recovery_public(&*core.folder)?,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match core.store.write(init.clone(), Duration::from_secs(5)).await {
                Ok(_) => return Ok(()),
                Err(e) if Instant::now() >= deadline => return Err(StartError::failed(e)),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await, // until it has elected itself
            }
        }
    }
}

/// Creates a cluster, joins one, or goes on with what the folder holds.
async fn be_born(
    config: &FabricConfig,
    (folder, entropy, clock): (&dyn Folder, &dyn Entropy, &dyn Clock),
    endpoint: &Unjoined,
    member: &taffeta_model::Member,
    key: &NodeKey,
) -> Result<Born, StartError> {
    let membership: Option<Membership> = load(folder, file::MEMBERSHIP)?;
    match (membership, config.join.is_empty(), &config.token) {
        (Some(membership), _, token) => birth::resume(folder, key, membership, token.as_ref()),
        (None, true, None) => {
            let born = birth::create(folder, entropy, (clock, config.lives), key)?;
            keyring::create(folder, entropy, key, born.membership.cluster)?;
            Ok(born)
        }
        (None, false, Some(token)) => {
            let member = (member.clone(), config.speaks);
            birth::join(endpoint, (&config.join, config.join_patience), token, member, key).await
        }
        (None, false, None) => Err(lacks("--join", "--token", "mint one on a member: `taffeta token create`")),
        (None, true, Some(_)) => Err(lacks("--token", "--join", "name a member: `--join HOST[:PORT]`")),
    }
}

/// Gives the port back if the node does not come up.
struct ClosedUnlessUp(Option<Net>);

impl Drop for ClosedUnlessUp {
    fn drop(&mut self) {
        if let Some(net) = &self.0 {
            net.close_now();
        }
    }
}

/// What this node gives to its tasks.
fn surroundings(config: &FabricConfig, settings: &Settings, folder: &dyn Folder, names: &TaskNames) -> Surroundings {
    let (options, fetched) = (&settings.task_options, folder.fetched());
    let limits = FetchLimits { file: options.fetch_max(), all: options.fetch_cache(), time: options.fetch_time() };
    Surroundings {
        data: fetched.as_ref().and_then(|path| path.parent()).map(Into::into),
        fetcher: Fetcher::new(fetched, limits),
        names: names.address(),
        domain: config.domain.clone(),
        host_paths: options.host_paths.clone().unwrap_or_default(),
    }
}

/// What the node says of itself.
fn node_info(config: &FabricConfig, settings: &Settings, offer: Offer, not_isolated: Vec<String>) -> NodeInfo {
    NodeInfo {
        name: settings.name.clone(),
        address: settings.advertise,
        http: settings.http.filter(|_| config.serve.http),
        dns: settings.dns.filter(|_| config.serve.dns),
        zone: settings.zone.clone(),
        attributes: settings.attributes.clone(),
        capacity: offer.capacity,
        custom: offer.custom,
        version: env!("CARGO_PKG_VERSION").into(),
        not_isolated,
        authority: 0, // as it is when it is published
        speaks: config.speaks,
    }
}

fn spawn_loops(core: &Arc<Core>, loops: &mut JoinSet<()>) {
    let failed = || core.failed.clone();
    loops.spawn(guarded("consensus", failed(), Arc::clone(core).run_consensus()));
    loops.spawn(guarded("pull", failed(), Arc::clone(core).run_pull()));
    loops.spawn(guarded("lead", failed(), Arc::clone(core).run_lead()));
    loops.spawn(guarded("autoscale", failed(), Arc::clone(core).run_autoscale()));
    loops.spawn(guarded("authority", failed(), Arc::clone(core).run_authority()));
    loops.spawn(guarded("renewal", failed(), Arc::clone(core).run_renewal()));
    loops.spawn(guarded("dates", failed(), Arc::clone(core).run_dates()));
    loops.spawn(guarded("removal", failed(), Arc::clone(core).run_removal()));
    loops.spawn(guarded("keyring", failed(), Arc::clone(core).run_keyring()));
    loops.spawn(guarded("leases", failed(), Arc::clone(core).run_leases()));
    loops.spawn(guarded("publish", failed(), Arc::clone(core).run_publish()));
    loops.spawn(guarded("names", failed(), Arc::clone(core).run_names()));
    loops.spawn(guarded("events", failed(), Arc::clone(core).run_events()));
    loops.spawn(guarded("upkeep", failed(), Arc::clone(core).run_upkeep()));
    loops.spawn(guarded("volume use", failed(), Arc::clone(core).run_volume_use()));
    loops.spawn(guarded("gossip", failed(), core.gossip.clone().run()));
    if core.chaos.is_some() {
        loops.spawn(guarded("chaos", failed(), Arc::clone(core).run_chaos()));
    }
}

/// Stores what makes the folder a member's. The membership comes last: with it the node has been born.
fn remember(folder: &dyn Folder, id: NodeId, settings: &Settings, born: &Born) -> Result<(), StartError> {
    let settings = serde_json::to_vec_pretty(settings).map_err(StartError::failed)?;
    folder.write(file::SETTINGS, &settings)?;
    folder.write(file::NODE_ID, format!("{id}\n").as_bytes())?;
    if let Some(welcome) = &born.welcome {
        save(folder, file::DIRECTORY, &welcome.directory)?;
    }
    if !born.peers.is_empty() {
        save(folder, file::PEERS, &born.peers)?;
    }
    save(folder, file::CERTIFICATE, &born.papers)?;
    save(folder, file::MEMBERSHIP, &born.membership)?;
    Ok(())
}

/// A cluster whose creator died before its first entry was written: it is written now.
fn interrupted_birth(core: &Core) -> Option<[u8; 32]> {
    let alone = core.directory.borrow().members.is_empty() && !core.has_state();
    let token = core.folder.read(file::ADMIN_TOKEN).ok().flatten()?;
    let log_is_ours = core.store.leadership().voters.iter().all(|voter| *voter == core.me);
    let holds_ca = core.signing_authority().is_some();
    (alone && log_is_ours && holds_ca).then(|| sha256(&token))
}
