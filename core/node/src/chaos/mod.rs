//! A node that lets itself be hurt on purpose, and always heals.
//!
//! Only a node that has opted in takes part. What is to be undone is in the [`journal`] on its disk before anything is
//! done, with a deadline. What concerns the process or the machine is done and undone by the [`keeper`], a small process
//! that outlives the agent; what concerns the node's own socket, clock, files and DNS by the agent itself ([`inside`]),
//! with an end of its own; drains and the leadership through the fabric. [`choose`] says which back end it is, and why
//! none can do it; [`begin`], [`end`] and [`view`] are what users ask for, [`serve`] what other nodes do. Left out: what is worth breaking, and whether the
//! fabric withstood it.

mod agent_file;
mod begin;
mod choose;
mod deeds;
mod end;
mod fill;
mod heard;
mod inside;
mod journal;
mod keeper;
mod load;
mod netfilter;
mod serve;
mod tell;
mod view;
mod watch;

pub use keeper::keeper_main;

pub(crate) use heard::HeardFaults;
pub(crate) use inside::{Dns, FullFiles, FullFolder, ShiftedClock, Switches};

use crate::{api::FaultState, folder::Folder, start_error::StartError};
use agent_file::Agent;
use journal::{Deed, Entry, FOLDER, Journal, Process, Record, boot_id, boot_millis};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
};
use subtle::ConstantTimeEq;
use taffeta_model::ChaosBlock;
use taffeta_net::{Entropy, sha256};
use tokio::{sync::Notify, task::JoinHandle};

/// Name of the file with the token that a request needs which brings about a fault.
pub(crate) const TOKEN: &str = "chaos.token";

/// Characters of a token, at least: as many as those have that nodes make.
const TOKEN_MIN: usize = 32;

/// The agent's part.
#[derive(Debug)]
pub(crate) struct Chaos {
    journal: Journal,
    boot: String,
    /// The program whose `keeper` verb is [`keeper_main`].
    program: PathBuf,
    /// `None` on a node that has not opted in: it only undoes what is left of a time when it had.
    hurt: Option<Hurt>,
    inside: Mutex<Inside>,
    /// Something is to be looked at.
    news: Notify,
    /// One fault is begun at a time: they are counted and compared.
    beginning: tokio::sync::Mutex<()>,
    /// One keeper is started at a time.
    keeping: tokio::sync::Mutex<()>,
}

/// What a node has that has opted in.
#[derive(Debug)]
pub(crate) struct Hurt {
    /// SHA-256 of the token.
    pub(crate) token: [u8; 32],
    pub(crate) switches: Switches,
    agent: Process,
}

#[derive(Debug, Default)]
struct Inside {
    /// A stop that was told to this node alone.
    blocked: Option<ChaosBlock>,
    /// Faults that are known to be over.
    over: BTreeSet<String>,
    /// What the events have told of each of the others.
    told: BTreeMap<String, FaultState>,
    /// The fault that is being begun: what the agent does is ended when it has been done.
    begins: Option<String>,
    /// Takes the node's drain back, of which there is one.
    lifting: Option<JoinHandle<()>>,
    /// Faults inside of the node that this process has brought about.
    on: BTreeSet<String>,
}

impl Chaos {
    /// Opens the journal of a data folder. With `switches` the node has opted in, and has a token from now on.
    pub(crate) fn open(
        data: &Path,
        program: Option<&Path>,
        folder: &dyn Folder,
        entropy: &dyn Entropy,
        switches: Option<Switches>,
    ) -> Result<Self, StartError> {
        let journal = Journal::new(data.join(FOLDER));
        if switches.is_some() {
            journal.make()?;
        }
        // A keeper may wait for it.
        if journal.folder().is_dir()
            && let Err(error) = Agent::own().and_then(|agent| agent.save(&journal))
        {
            if switches.is_some() {
                return Err(error.into());
            }
            tracing::error!(%error, "a keeper of faults of an earlier time cannot be told that this node is there");
        }
        let hurt = match switches {
            Some(switches) => Some(Hurt { token: token(folder, entropy)?, switches, agent: agent_file::this()? }),
            None => None,
        };
        Ok(Self {
            journal,
            boot: boot_id(),
            program: program.map_or_else(|| "/proc/self/exe".into(), Into::into),
            hurt,
            inside: Mutex::default(),
            news: Notify::new(),
            beginning: tokio::sync::Mutex::new(()),
            keeping: tokio::sync::Mutex::new(()),
        })
    }

    /// The node has come up: a keeper that waits for it may end.
    fn note_ready(&self) {
        if !self.journal.folder().is_dir() {
            return;
        }
        let noted = Agent::own().and_then(|mut agent| {
            agent.is_ready = true;
            agent.save(&self.journal)
        });
        if let Err(error) = noted {
            tracing::error!(%error, "the keeper of faults cannot be told that this node is there");
        }
    }

    /// What it has, if it has opted in.
    pub(crate) fn hurt(&self) -> Option<&Hurt> {
        self.hurt.as_ref()
    }

    /// Takes faults for told that have ended while no agent was here: their end is told next.
    fn remember_unheard(&self) {
        let entries = self.journal.entries().into_iter();
        let unheard = entries.filter(|entry| entry.is_over() && !self.journal.is_heard(&entry.record.id));
        self.inside().told.extend(unheard.map(|entry| (entry.record.id, FaultState::Active)));
    }

    /// A stop that was both written down and told to this node is lifted when it is no more written down: whoever lifts it
    /// may not reach all. One that was only told stays.
    fn lift_told_block(&self, was: Option<&ChaosBlock>, is: Option<&ChaosBlock>) {
        let mut inside = self.inside();
        if was.is_some() && is.is_none() && inside.blocked.as_ref() == was {
            inside.blocked = None;
        }
    }

    /// Writes down a fault that is about to be brought about, unless this node was told to begin none. Whoever blocks looks
    /// afterwards for what was written down before, and ends it.
    fn add(&self, record: &Record) -> Result<Beginning<'_>, NotBegun> {
        let mut inside = self.inside();
        if let Some(block) = &inside.blocked {
            return Err(NotBegun::Blocked(block.clone()));
        }
        self.journal.add(record).map_err(NotBegun::Unwritten)?;
        inside.over.remove(&record.id); // one of this name may have been over and forgotten
        inside.told.insert(record.id.clone(), FaultState::Active);
        inside.begins = Some(record.id.clone());
        Ok(Beginning(self))
    }

    /// Faults that are not over.
    fn unfinished(&self) -> Vec<Entry> {
        let mut inside = self.inside();
        let ids = self.journal.ids();
        inside.over.retain(|id| ids.contains(id));
        let (over, left): (Vec<_>, Vec<_>) =
            self.journal.entries_of(ids.difference(&inside.over)).into_iter().partition(Entry::is_over);
        inside.over.extend(over.into_iter().map(|entry| entry.record.id));
        left
    }

    /// Starts a keeper if none lives.
    async fn ensure_keeper(&self) -> io::Result<()> {
        let _alone = self.keeping.lock().await;
        if keeper::lives(&self.journal) {
            return Ok(());
        }
        let mut command = tokio::process::Command::new(&self.program);
        command.arg0("taffeta").args(keeper::start_words(&self.journal)).stdin(Stdio::null());
        let status = command.status().await?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the keeper did not start ({status})"))) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that is being begun, until it is dropped.
#[derive(Debug)]
struct Beginning<'a>(&'a Chaos);

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.inside().begins = None;
        self.0.news.notify_one();
    }
}

/// Why a fault was not begun. Nothing was done.
#[derive(Debug)]
enum NotBegun {
    /// All faults are blocked.
    Blocked(ChaosBlock),
    /// It cannot be written down.
    Unwritten(io::Error),
}

impl Hurt {
    /// Whether this is the node's token, or that of another member that has opted in.
    fn takes(&self, token: &str, others: &BTreeMap<taffeta_model::NodeId, [u8; 32]>) -> bool {
        is_one_of(token, others.values().chain([&self.token]))
    }
}

/// Whether one of these is the hash of this token.
fn is_one_of<'a>(token: &str, hashes: impl Iterator<Item = &'a [u8; 32]>) -> bool {
    let hash = sha256(token.trim().as_bytes());
    // All are compared, whatever the first says.
    let known = hashes.fold(false, |taken, known| taken | bool::from(hash.ct_eq(known)));
    known && is_token(token)
}

/// Whether a token may be one. What is too short is none, whoever has told its hash: an empty file would open the node
/// to all who show nothing.
fn is_token(text: &str) -> bool {
    text.trim().len() >= TOKEN_MIN
}

/// The node's token: that of an earlier start, or a new one if that is none.
fn token(folder: &dyn Folder, entropy: &dyn Entropy) -> Result<[u8; 32], StartError> {
    if let Some(text) = folder.read(TOKEN)? {
        let text = text.trim_ascii();
        if text.len() >= TOKEN_MIN {
            return Ok(sha256(text));
        }
        tracing::warn!("`{TOKEN}` in the data folder has less than {TOKEN_MIN} characters, and is made anew");
    }
    let mut secret = [0; 16];
    entropy.fill(&mut secret);
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.write(TOKEN, format!("{text}\n").as_bytes())?;
    Ok(sha256(text.as_bytes()))
}

/// Gives back the room on the data folder's disk that a fault has taken whose time is over, as it is after a reboot: on a
/// full disk perhaps nothing comes up that could do so later.
pub(crate) fn make_room(data: &Path) {
    let (journal, boot, now) = (Journal::new(data.join(FOLDER)), boot_id(), boot_millis());
    for entry in journal.entries().into_iter().filter(|entry| !entry.is_over() && entry.is_due(now, &boot)) {
        if let Deed::Fill { file } = &entry.record.deed
            && let Err(error) = fill::remove(file)
        {
            tracing::error!(%error, file = %file.display(), "what a fault has filled the disk with cannot be removed");
        }
    }
}

/// Undoes everything that is left in the journals below a folder, whose nodes and keepers have ended: what a killed demo
/// leaves in the kernel. Gives what could not be undone.
pub fn heal(data: &Path) -> Vec<String> {
    let journal = Journal::new(data.join(FOLDER));
    let left = journal.entries().into_iter().filter(|entry| !entry.is_over());
    let undone = left.filter_map(|entry| match entry.record.deed {
        Deed::Table { family, name, .. } => netfilter::remove(&family, &name).err(),
        Deed::Burn { group: Some(group), .. } | Deed::Hold { group: Some(group), .. } => {
            group.remove().err().map(|e| e.to_string())
        }
        // It has ended with its process, or lies in the folder.
        Deed::Burn { group: None, .. } | Deed::Hold { group: None, .. } | Deed::Fill { .. } => None,
        Deed::Kill { .. } | Deed::Stop | Deed::Pause | Deed::Freeze { .. } | Deed::KillTask { .. } => None,
        Deed::Inside | Deed::Drain | Deed::HandOver => None,
    });
    undone.collect()
}

#[cfg(test)]
mod tests;
