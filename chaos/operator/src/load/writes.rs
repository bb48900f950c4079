//! Writes whose fate is kept, and held against what the leader shows at the end.
//!
//! A key is an app without instances; a write deploys it with one job whose name is the write's serial. The reply names
//! the position in the log, and the list of apps gives of each the serial, its position, and how often it was deployed.

use super::{NOBODY, nobody_is_left};
use crate::{fabric::Fabric, scene::Scene, timeline::Request};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use taffeta_history::{Client, Fate, History, Key, Position, Read, Seen, Serial, Strength};
use taffeta_node::api::{AppView, DeployRequest, ErrorCode};
use tokio::time::sleep;

/// How long a client waits for a reply. Longer than an election, shorter than the product's own limit.
const PATIENCE: Duration = Duration::from_secs(4);
/// Pause after each write: a client, not a benchmark.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the leader may take to be read at the end.
const READ_MAX: Duration = Duration::from_secs(30);
/// Begins the names of the apps that are written to.
const PREFIX: &str = "chaos-writes-";

/// What became of the writes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Tells the apps that were written to from those of other runs.
    pub run: String,
    /// Acknowledged.
    pub acknowledged: usize,
    /// Refused, with nothing changed.
    pub refused: usize,
    /// Of a fate that their clients do not know.
    pub unknown: usize,
    /// Promises that were broken, in words: above all writes that were acknowledged and are gone.
    pub violations: Vec<String>,
    /// Why it could not be told, if the leader could not be read.
    pub unread: Option<String>,
}

/// The record of the writes; clones are the same one.
#[derive(Clone)]
pub(super) struct Book {
    history: Arc<Mutex<History>>,
    /// Tells the apps of this run from those of others.
    run: String,
    stop: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
}

impl Book {
    pub(super) fn new(history: Arc<Mutex<History>>) -> Self {
        Self { history, run: crate::run::fresh_id(), stop: Arc::default(), open: Arc::default() }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_writing(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    fn app(&self, key: Key) -> String {
        format!("{PREFIX}{}-{}", self.run, key.0)
    }

    /// An app as a key, if it is one of this run.
    fn seen(&self, app: &AppView) -> Option<(Key, Seen)> {
        let key = Key(app.app.strip_prefix(PREFIX)?.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()?);
        let job = app.jobs.first()?;
        let serial = Serial(job.name.strip_prefix('s')?.parse().ok()?);
        Some((key, Seen { serial, position: Position(job.revision), count: app.version }))
    }
}

/// Writes until it is told to stop, each time through the next of the machines that are `alive`.
pub(super) async fn write_for_ever(fabric: Fabric, scene: Scene, book: Book, number: u32, alive: Vec<String>) {
    let (client, key) = (Client(number), Key(number.into()));
    let (mut turn, who) = (number as usize, format!("writer {number}"));
    while !book.stop.load(Ordering::Relaxed) {
        turn += 1;
        let silent = scene.silent();
        let names: Vec<String> = fabric.names().into_iter().filter(|name| !silent.contains(name)).collect();
        let api = names.get(turn % names.len().max(1)).and_then(|name| fabric.client(name));
        if api.is_none() && nobody_is_left(&alive, &silent) {
            scene.told(Request::Write, &who, Err(NOBODY.into()));
        }
        if let Some(api) = api {
            book.open.fetch_add(1, Ordering::Relaxed);
            let serial = book.history().invoke(scene.now(), client, key);
            let file = format!("app = \"{}\"\n[batch.s{}]\nrun = [\"true\"]\ncount = 0\n", book.app(key), serial.0);
            let reply = api.time_limit(PATIENCE).deploy(DeployRequest { file, files: BTreeMap::new() }).await;
            let at = scene.now();
            let (fate, told) = match reply {
                Ok(reply) => (Fate::Acknowledged { at, position: Position(reply.position) }, Ok(())),
                // Whoever did not answer may have heard it; every other refusal promises that nothing was changed.
                Err(e) if matches!(e.code, ErrorCode::Timeout | ErrorCode::Failed) => (Fate::Unknown, Err(e.message)),
                Err(e) => (Fate::Refused, Err(e.message)),
            };
            book.history().end(serial, fate);
            scene.told(Request::Write, &who, told);
            book.open.fetch_sub(1, Ordering::Relaxed);
        }
        sleep(PAUSE).await;
    }
}

/// Reads what the leader shows, and what it should.
pub(super) async fn reckon(fabric: &Fabric, scene: &Scene, book: &Book) -> Written {
    let until = scene.now() + READ_MAX;
    let read = loop {
        match read(fabric, scene, book).await {
            Ok(read) => break Ok(read),
            Err(why) if scene.now() > until => break Err(why),
            Err(_) => sleep(PAUSE).await,
        }
    };
    let mut history = book.history();
    let unread = match read {
        Ok(read) => {
            history.add_read(read);
            None
        }
        Err(why) => Some(why),
    };
    let violations = history.check().err().unwrap_or_default();
    Written {
        run: book.run.clone(),
        acknowledged: history.acknowledged(),
        refused: history.refused(),
        unknown: history.unknown(),
        violations: violations.iter().map(ToString::to_string).collect(),
        unread,
    }
}

async fn read(fabric: &Fabric, scene: &Scene, book: &Book) -> Result<Read, String> {
    let fleet = fabric.view().await.map_err(|e| e.message)?;
    let name = fleet.leader.ok_or("nobody leads")?;
    let api = fabric.client(&name).ok_or_else(|| format!("{name} has no API that can be reached from here"))?;
    let leader = async || api.leader().await.map_err(|e| e.message)?.ok_or_else(|| "nobody leads".to_owned());
    let before = leader().await?;
    if before.name != name {
        return Err(format!("{} leads, not {name}", before.name));
    }
    let invoked = scene.now();
    let apps = api.apps().await.map_err(|e| e.message)?;
    let returned = scene.now();
    // Asked again: it led all the time.
    if leader().await? != before {
        return Err("the leader has changed".into());
    }
    let seen = apps.iter().filter_map(|app| book.seen(app)).collect();
    Ok(Read { invoked, returned, strength: Strength::Linearizable, seen })
}

/// Removes the apps that this run has written to.
pub async fn sweep_writes(fabric: &Fabric, written: &Written) {
    let Ok(fleet) = fabric.view().await else { return };
    let Some(api) = fleet.leader.and_then(|leader| fabric.client(&leader)) else { return };
    let prefix = format!("{PREFIX}{}-", written.run);
    for app in api.apps().await.unwrap_or_default() {
        if let Some(name) = app.app.starts_with(&prefix).then(|| app.app.parse().ok()).flatten() {
            let _ = api.stop(name).await; // it stays, and does no harm: it has no instances
        }
    }
}
