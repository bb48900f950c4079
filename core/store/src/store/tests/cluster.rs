//! Up to a few stores in one process, whose lines can be cut and who can be killed and restarted.

use super::*;
use crate::{FolderFiles, SegmentDisk, Sizes, disk::Op, files::memory::MemoryFiles, voters};
use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};
use taffeta_model::{Liveness, Millis, Token, TokenId, TokenRole, UnixMillis, VERSION};

/// No test waits longer than this for anything.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A disk that outlives the store on it. Clones are one disk.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk {
    pub(crate) contents: Arc<Mutex<Loaded>>,
    pub(crate) failing: Arc<AtomicBool>,
}

impl Disk for MemoryDisk {
    fn load(&mut self) -> io::Result<Loaded> {
        Ok(self.contents.lock().unwrap().clone())
    }

    fn commit(&mut self, ops: &[Op], committed: Option<Vec<u8>>) -> io::Result<()> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is on fire"));
        }
        let mut contents = self.contents.lock().unwrap();
        for op in ops.iter().cloned() {
            match op {
                Op::Append(entries) => contents.log.extend(entries),
                Op::Vote(vote) => contents.vote = Some(vote),
                Op::Truncate(from) => drop(contents.log.split_off(&from)),
                Op::Purge(to, id) => {
                    contents.log = contents.log.split_off(&(to + 1));
                    contents.purged = Some(id);
                }
                Op::Snapshot(about, snapshot) => contents.snapshot = Some((about, snapshot)),
                Op::Clear => *contents = Loaded::default(),
            }
        }
        contents.committed = committed.or_else(|| contents.committed.take());
        Ok(())
    }
}

/// Where a cluster keeps its logs.
pub(super) enum Disks {
    Memory(BTreeMap<NodeId, MemoryDisk>),
    Files(tempfile::TempDir),
    /// Files that can be filled up; nothing is set aside ahead.
    Room(BTreeMap<NodeId, MemoryFiles>),
}

impl Disks {
    pub(super) fn memory() -> Self {
        Self::Memory(BTreeMap::new())
    }

    pub(super) fn room() -> Self {
        Self::Room(BTreeMap::new())
    }

    pub(super) fn files() -> Self {
        Self::Files(tempfile::tempdir().unwrap())
    }

    /// Waits until the store that had the disk before has let go of it.
    pub(super) async fn open(&mut self, id: NodeId) -> Box<dyn Disk> {
        let path = match self {
            Self::Memory(disks) => return Box::new(disks.entry(id).or_default().clone()),
            Self::Room(disks) => {
                let files = Arc::new(disks.entry(id).or_default().clone());
                let sizes = Sizes { ahead: 1, ..Sizes::default() };
                return Box::new(SegmentDisk::open(files, id, sizes).unwrap());
            }
            Self::Files(folder) => folder.path().join(format!("{id}")),
        };
        let began = Instant::now();
        loop {
            match FolderFiles::open(&path) {
                Ok(files) => return Box::new(SegmentDisk::open(Arc::new(files), id, Sizes::default()).unwrap()),
                Err(e) if began.elapsed() > LIMIT => panic!("{e}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }
}

#[derive(Default)]
struct Hub {
    stores: Mutex<BTreeMap<NodeId, Store>>,
    cut: Mutex<BTreeSet<NodeId>>,
    /// What was last refused to a sender, by who refused it.
    refused: Mutex<BTreeMap<NodeId, String>>,
}

/// One node's line to the others. A cut line swallows packets, as a dead network does.
struct Wire(NodeId, Arc<Hub>);

#[async_trait]
impl Transport for Wire {
    async fn send(&self, to: NodeId, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, SendError> {
        let cut = |id| self.1.cut.lock().unwrap().contains(&id);
        if cut(self.0) || cut(to) {
            tokio::time::sleep(limit).await;
            return Err(SendError("no answer in time".into()));
        }
        let store = self.1.stores.lock().unwrap().get(&to).cloned();
        let store = store.ok_or_else(|| SendError("nobody there".into()))?;
        let answer = timeout(limit, store.answer(&request)).await;
        let reply = answer.map_err(|_| SendError("no answer in time".into()))?.map_err(|why| {
            self.1.refused.lock().unwrap().insert(to, why.clone());
            SendError(why)
        })?;
        if cut(self.0) || cut(to) { Err(SendError("the answer was lost".into())) } else { Ok(reply) }
    }
}

pub(super) struct Cluster {
    pub(super) disks: Disks,
    /// What stores speak that are opened from now on.
    pub(super) speaks: u32,
    hub: Arc<Hub>,
    lives: u64,
}

impl Cluster {
    pub(super) fn new(disks: Disks) -> Self {
        Self { disks, speaks: VERSION, hub: Arc::default(), lives: 0 }
    }

    /// The first machine, leading alone.
    pub(super) async fn born(disks: Disks) -> Self {
        let mut cluster = Self::new(disks);
        cluster.start(1).await;
        cluster.store(1).initialise("127.0.0.1:1".parse().unwrap()).await.unwrap();
        cluster.leads(&[1]).await;
        cluster
    }

    /// Three machines that all vote.
    pub(super) async fn of_three(disks: Disks) -> Self {
        let mut cluster = Self::born(disks).await;
        cluster.start(2).await;
        cluster.start(3).await;
        cluster.grow(&[1, 2, 3]).await;
        cluster
    }

    /// The files of a node whose disk can be filled up.
    pub(super) fn memory_files(&self, id: u64) -> MemoryFiles {
        let Disks::Room(disks) = &self.disks else { unreachable!("on files of memory") };
        disks[&NodeId(id)].clone()
    }

    pub(super) async fn open(&mut self, id: u64) -> Result<Store, OpenError> {
        self.lives += 1;
        let id = NodeId(id);
        let transport = Arc::new(Wire(id, Arc::clone(&self.hub)));
        let disk = self.disks.open(id).await;
        Store::open(StoreConfig {
            id,
            disk,
            driver: Driver::Thread,
            seed: id.0 + 100 * self.lives,
            transport,
            snapshot_every: SNAPSHOT_EVERY,
            timers: Timers::LAN,
            epoch: Instant::now(),
            speaks: self.speaks,
        })
        .await
    }

    /// Why a store last refused a message, if it has.
    pub(super) fn refusal_of(&self, id: u64) -> Option<String> {
        self.hub.refused.lock().unwrap().get(&NodeId(id)).cloned()
    }

    pub(super) async fn start(&mut self, id: u64) {
        let store = self.open(id).await.unwrap();
        self.hub.stores.lock().unwrap().insert(NodeId(id), store);
    }

    /// Ends a store without a word to the others.
    pub(super) async fn kill(&self, id: u64) {
        let store = self.hub.stores.lock().unwrap().remove(&NodeId(id)).unwrap();
        store.shutdown().await;
    }

    pub(super) fn cut(&self, ids: &[u64]) {
        *self.hub.cut.lock().unwrap() = ids.iter().copied().map(NodeId).collect();
    }

    pub(super) fn store(&self, id: u64) -> Store {
        self.hub.stores.lock().unwrap()[&NodeId(id)].clone()
    }

    /// Waits until one of these leads and all of these agree on it.
    pub(super) async fn leads(&self, among: &[u64]) -> u64 {
        let views = || among.iter().map(|id| self.store(*id).leadership()).collect::<Vec<_>>();
        until("one leads and all agree", || {
            let views = views();
            let leader = views[0].leader;
            leader.is_some_and(|l| among.contains(&l.0))
                && views.iter().all(|v| v.leader == leader)
                && views.iter().filter(|v| v.is_leader).count() == 1
        })
        .await;
        views()[0].leader.unwrap().0
    }

    /// The leader's loop over [`voters::plan`], until three vote. Gives the changes that it made.
    pub(super) async fn grow(&self, ids: &[u64]) -> Vec<Change> {
        let leader = self.leads(&ids[..1]).await;
        let alive = |id: &u64| (*id, String::new(), Liveness::Alive);
        self.reconcile(leader, &ids.iter().map(alive).collect::<Vec<_>>(), |known| known.voters.len() == 3).await
    }

    /// The same until something holds, with members of whom the ring says this. Seconds pass quickly for the evidence.
    pub(super) async fn reconcile(
        &self,
        leader: u64,
        members: &[(u64, String, Liveness)],
        until: impl Fn(&Leadership) -> bool,
    ) -> Vec<Change> {
        let leader = self.store(leader);
        let candidate = |(id, zone, liveness): &(u64, String, Liveness)| voters::Candidate {
            id: NodeId(*id),
            zone: zone.clone(),
            liveness: *liveness,
        };
        let members: Vec<_> = members.iter().map(candidate).collect();
        let (mut changes, mut evidence, began) = (vec![], voters::Evidence::default(), Instant::now());
        let mut turn = 0;
        while !until(&leader.leadership()) {
            assert!(began.elapsed() < LIMIT, "not in time: {:?}", leader.leadership());
            let known = leader.leadership();
            let (now, seen) = (Millis(turn * 500), known.observed(leader.id, members.clone()));
            turn += 1;
            evidence.observe(now, &seen);
            match voters::plan(now, &seen, &evidence) {
                Some(change) => {
                    let address = Some("127.0.0.1:1".parse().unwrap());
                    match leader.change_voters(change.clone(), address, known.position).await {
                        Ok(()) => {
                            evidence.note_change(now, &change);
                            changes.push(change);
                        }
                        // What is known may be a moment late: the change was made already, and is refused.
                        Err(why) => assert!(why.contains("mismatch"), "{why}"),
                    }
                }
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        changes
    }

    /// Writes to whoever leads among these, again where the answer left it open, as a client does.
    pub(super) async fn write(&self, among: &[u64], command: Command) -> Fence {
        let began = Instant::now();
        loop {
            let leader = self.leads(among).await;
            match self.store(leader).write(command.clone(), Duration::from_secs(1)).await {
                Ok(Outcome::Done(at)) => return at,
                Ok(Outcome::Refused(why)) => panic!("refused: {why}"),
                Err(e) => assert!(began.elapsed() < LIMIT, "{e}"),
            }
        }
    }

    /// Waits until all of these have applied the same and hold exactly these tokens.
    pub(super) async fn hold(&self, among: &[u64], tokens: std::ops::Range<u64>) {
        let expected: Vec<_> = tokens.map(TokenId).collect();
        let states = || among.iter().map(|id| self.store(*id).read(Clone::clone)).collect::<Vec<State>>();
        let began = Instant::now();
        loop {
            let states = states();
            if states.iter().all(|s| *s == states[0] && s.tokens.keys().eq(&expected)) {
                return;
            }
            if began.elapsed() > LIMIT {
                let held = |s: &State| (s.applied, s.tokens.keys().copied().collect::<Vec<_>>());
                let held: Vec<_> = states.iter().map(held).collect();
                let led: Vec<_> = among.iter().map(|id| self.store(*id).leadership()).collect();
                panic!("not in time: all hold the same {expected:?}: {held:#?}, {led:#?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Waits for a condition. The pause only spares the processor.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, met).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A small write that can be seen afterwards.
pub(super) fn token(id: u64) -> Command {
    let token = Token {
        secret_hash: [7; 32],
        expires: UnixMillis(u64::MAX),
        uses: None,
        used: 0,
        role: TokenRole::Node,
        created: UnixMillis(0),
    };
    Command::CreateToken { id: TokenId(id), token }
}

/// Runs a rule as two tests.
macro_rules! on_both_disks {
    ($($rule:ident),+ $(,)?) => {$(
        mod $rule {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_memory() {
                super::$rule(cluster::Disks::memory()).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_files() {
                super::$rule(cluster::Disks::files()).await;
            }
        }
    )+};
}
pub(super) use on_both_disks;

/// What a future gives, and how long it took.
pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (work.await, began.elapsed())
}

/// Passes if this once takes less than its limit. Measured beside other tests: a first miss may be the machine's, three are
/// ours.
pub(super) async fn in_time(limit: Duration, mut work: impl AsyncFnMut() -> Duration) {
    let mut missed = vec![];
    while missed.len() < 3 {
        match work().await {
            took if took < limit => return,
            took => missed.push(took),
        }
    }
    panic!("never within {limit:?}: {missed:?}");
}
