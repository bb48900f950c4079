//! Clients that write all the time and record what they were told, and reads to hold it against.
//!
//! A key is an app without instances; a write deploys it with one job whose name is the write's serial. The reply names
//! the position in the log, and the list of apps gives of each the serial, its position, and how often it was deployed.

use crate::{
    client::{Client, NoReply},
    machine::Cluster,
    wait::within,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{scope, sleep},
    time::{Duration, Instant},
};
use taffeta_history::{Fate, History, Key, Position, Read, Seen, Serial, Strength};

/// How long a client waits for a reply. Longer than an election, shorter than the product's own limit.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long until writes are possible after a disaster.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Pause after a write that failed: a machine that is down is not to be hammered.
const PAUSE: Duration = Duration::from_millis(10);
/// Key of the writes that only ask whether writes are possible.
const ASKING: Key = Key(0);

/// Records what clients of a cluster see.
#[derive(Debug)]
pub struct Recorder {
    servers: BTreeMap<String, SocketAddr>,
    /// What is shown to the servers, if they want something.
    token: Option<String>,
    start: Instant,
    history: Mutex<History>,
}

impl Recorder {
    /// Nothing has been written yet to the machines, which have been started.
    pub fn new(cluster: &Cluster) -> Self {
        let servers = cluster.machines.iter().map(|m| (m.name.clone(), m.http())).collect();
        Self::of(servers, cluster.token().map(str::to_owned))
    }

    /// The same of servers by name, with the administrator's token if they want it.
    pub(crate) fn of(servers: BTreeMap<String, SocketAddr>, token: Option<String>) -> Self {
        Self { servers, token, start: Instant::now(), history: Mutex::default() }
    }

    /// A recorder that goes on from here, apart from this one.
    pub fn fork(&self) -> Self {
        Self {
            servers: self.servers.clone(),
            token: self.token.clone(),
            start: self.start,
            history: Mutex::new(self.history().clone()),
        }
    }

    /// What was recorded.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no client has panicked")
    }

    /// Lets so many clients write, each with one write at a time, as long as `meanwhile` runs.
    pub fn under_load<T>(&self, clients: u32, meanwhile: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed); // also after a panic, which the clients would outlive
            }
        }
        scope(|scope| {
            let _stop = Stop(&stop);
            for number in 1..=clients {
                let stop = &stop;
                scope.spawn(move || self.write_until(stop, taffeta_history::Client(number)));
            }
            meanwhile()
        })
    }

    fn write_until(&self, stop: &AtomicBool, client: taffeta_history::Client) {
        let mut turns = self.servers.values().cycle().skip(client.0 as usize);
        let mut line = self.client(*turns.next().expect("a server"));
        while !stop.load(Ordering::Relaxed) {
            if self.write(client, Key(client.0.into()), &mut line).is_err() {
                line = self.client(*turns.next().expect("a server"));
                sleep(PAUSE);
            }
        }
    }

    /// One write; why it was not acknowledged, if it was not.
    fn write(&self, client: taffeta_history::Client, key: Key, line: &mut Client) -> Result<(), String> {
        let serial = self.history().invoke(self.start.elapsed(), client, key);
        let file = format!("app = \"h{}\"\n[batch.s{}]\nrun = [\"true\"]\ncount = 0\n", key.0, serial.0);
        let reply = line.request("POST", "/v1/apps", Some(("application/toml", &file)));
        let at = self.start.elapsed();
        let (fate, told) = match reply {
            Ok((200, body)) => {
                let position = parse(&body).and_then(|reply| reply["position"].as_u64());
                let position = Position(position.unwrap_or_else(|| panic!("no position in {body}")));
                (Fate::Acknowledged { at, position }, Ok(()))
            }
            // "It may still take effect"; every other refusal promises that nothing was changed.
            Ok((504, body)) => (Fate::Unknown, Err(body)),
            Ok((_, body)) => (Fate::Refused, Err(body)),
            Err(NoReply::NotSent(why)) => (Fate::Refused, Err(why)),
            Err(NoReply::Sent(why)) => (Fate::Unknown, Err(why)),
        };
        self.history().end(serial, fate);
        told
    }

    /// One write through a machine, apart from all others; what was said if it was not acknowledged.
    pub fn try_write(&self, machine: &str) -> Result<(), String> {
        self.write(taffeta_history::Client(0), ASKING, &mut self.client(self.servers[machine]))
    }

    /// Waits until a write is acknowledged, through any machine.
    pub fn settle(&self) {
        let mut names = self.servers.keys().cycle();
        within(SETTLE_MAX, "a write is acknowledged", || self.try_write(names.next().expect("a server")));
    }

    /// Reads what a machine shows, which may be old.
    pub fn peek(&self, machine: &str) -> Result<(), String> {
        let read = self.read_from(self.servers[machine], Strength::Stale)?;
        self.history().add_read(read);
        Ok(())
    }

    /// Reads what the leader shows: all that was acknowledged before. Others may write meanwhile.
    pub fn read(&self) {
        let (read, _) = within(SETTLE_MAX, "the leader is read", || {
            let (server, term) = self.leader()?;
            let read = self.read_from(server, Strength::Linearizable)?;
            // All are asked again: it led all the time, and nobody else acknowledged anything.
            if self.leader()? == (server, term) { Ok(read) } else { Err("the leader has changed".into()) }
        });
        self.history().add_read(read);
    }

    /// The one machine that says of itself that it leads, and its term.
    fn leader(&self) -> Result<(SocketAddr, u64), String> {
        let mut found = None;
        for (name, server) in &self.servers {
            let Ok(view) = self.get(*server, "/v1/leader") else { continue };
            if view["name"] == name.as_str() {
                let term = view["term"].as_u64().ok_or("a leader without a term")?;
                if found.replace((*server, term)).is_some() {
                    return Err("two say that they lead".into()); // one of them does not know yet
                }
            }
        }
        found.ok_or_else(|| "nobody says that it leads".into())
    }

    /// Name of the machine that leads, as it says itself; an error in words if there is none.
    pub fn leader_name(&self) -> Result<String, String> {
        let (leader, _) = self.leader()?;
        let found = self.servers.iter().find(|(_, server)| **server == leader);
        found.map(|(name, _)| name.clone()).ok_or_else(|| "an unknown leader".into())
    }

    fn read_from(&self, server: SocketAddr, strength: Strength) -> Result<Read, String> {
        let invoked = self.start.elapsed();
        let apps = self.get(server, "/v1/apps")?;
        let returned = self.start.elapsed();
        let seen = apps.as_array().into_iter().flatten().filter_map(seen).collect();
        Ok(Read { invoked, returned, strength, seen })
    }

    fn get(&self, server: SocketAddr, path: &str) -> Result<Value, String> {
        match self.client(server).request("GET", path, None) {
            Ok((200, body)) => parse(&body).ok_or(body),
            Ok((status, body)) => Err(format!("HTTP {status} {body}")),
            Err(NoReply::NotSent(why) | NoReply::Sent(why)) => Err(why),
        }
    }

    fn client(&self, server: SocketAddr) -> Client {
        Client::new(server, PATIENCE).showing(self.token.as_deref())
    }

    /// Panics unless the store has kept its promises so far.
    pub fn check(&self, after: &str) {
        let history = self.history();
        if let Err(found) = history.check() {
            let all: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
            panic!("{after}: {} promises were broken:\n{}", found.len(), all.join("\n"));
        }
    }

    /// How long it took from a moment until a write was acknowledged that was sent after it.
    pub fn acknowledged_after(&self, moment: Instant) -> Option<Duration> {
        let sent = moment.saturating_duration_since(self.start);
        let history = self.history();
        let ends = history.writes().rev().take_while(|(_, write)| write.invoked + PATIENCE * 2 > sent);
        let ends = ends.filter(|(_, write)| write.invoked > sent).filter_map(|(_, write)| match write.fate {
            Fate::Acknowledged { at, .. } => Some(at - sent),
            Fate::Open | Fate::Refused | Fate::Unknown => None,
        });
        ends.min()
    }

    /// In words: how much was recorded.
    pub fn summary(&self) -> String {
        let history = self.history();
        let (acknowledged, refused, unknown) = (history.acknowledged(), history.refused(), history.unknown());
        format!("{acknowledged} writes acknowledged, {refused} refused or not sent, {unknown} unknown")
    }
}

fn parse(body: &str) -> Option<Value> {
    serde_json::from_str(body).ok()
}

/// An app as a key, if it is one.
fn seen(app: &Value) -> Option<(Key, Seen)> {
    let number = |name: &Value, mark: char| name.as_str()?.strip_prefix(mark)?.parse::<u64>().ok();
    let key = Key(number(&app["app"], 'h')?);
    let job = app["jobs"].as_array()?.first()?;
    let serial = Serial(number(&job["name"], 's')?);
    let position = Position(job["revision"].as_u64()?);
    Some((key, Seen { serial, position, count: app["version"].as_u64()? }))
}
