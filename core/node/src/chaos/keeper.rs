//! The keeper: a small process of one thread that hurts a node on purpose, and heals it whatever becomes of the rest.
//!
//! It is the same binary, started again with the first fault, in a session of its own. It holds a lock, does what the
//! journal says, undoes it in time, brings an agent back that it has killed or stopped, and ends when nothing is left. A
//! second one waits for the same lock: if the first is killed, the kernel gives it the lock, and it goes on. Left out: which
//! fault is brought about by what, which the agent has decided.

use super::{
    deeds::{Doing, Step},
    journal::{Entry, FOLDER, Journal, Told, boot_id, boot_millis},
    load,
};
use crate::api::FaultState;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock, inotify},
    process::setsid,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::Duration,
};

/// Held by the keeper that acts.
const LOCK: &str = "keeper.lock";

/// The word that starts a keeper and ends at once, so that the keeper is nobody's child.
const START: &str = "start";

/// It looks at all at least so often: at children that ended and an agent that came back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause between two looks whether a keeper has begun.
const START_PAUSE: Duration = Duration::from_millis(5);

/// Pause before an undo that failed is tried again, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// Is a keeper, or one of its processes: `args` are what follows the word `keeper` on the command line.
///
/// To be called first in `main`, before any thread, runtime or file exists.
pub fn keeper_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = args.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match words.split_first() {
        Some((verb, rest)) if verb == load::BURN || verb == load::HOLD => load::run(verb, rest),
        Some((verb, [folder])) if verb == START => ended(start(Path::new(folder))),
        Some((folder, [])) => ended(keep(Path::new(folder))),
        Some(_) | None => {
            eprintln!("error: expected the data folder's `{FOLDER}`; a node starts its keeper itself");
            ExitCode::from(2)
        }
    }
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: the keeper of faults: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Words behind the program that start a keeper which is nobody's child.
pub(crate) fn start_words(journal: &Journal) -> [OsString; 3] {
    ["keeper".into(), START.into(), journal.folder().into()]
}

/// Returns when a keeper acts: whoever asks has one then, and need not start a second.
fn start(folder: &Path) -> io::Result<()> {
    let mut keeper = spawn(folder)?;
    let journal = Journal::new(folder.into());
    for _ in 0..1_000 {
        if lives(&journal) {
            return Ok(());
        }
        if let Some(status) = keeper.try_wait()? {
            return if status.success() { Ok(()) } else { Err(io::Error::other(format!("it has ended ({status})"))) };
        }
        sleep(START_PAUSE);
    }
    Err(io::Error::other("it does not begin"))
}

fn spawn(folder: &Path) -> io::Result<Child> {
    // The outputs are those of the agent, for the agent that is started again.
    Command::new("/proc/self/exe").arg("keeper").arg(folder).stdin(Stdio::null()).spawn()
}

/// Whether a keeper acts, as far as one can see without being in its way.
pub(crate) fn lives(journal: &Journal) -> bool {
    let Ok(lock) = open_lock(journal.folder()) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK))
}

fn keep(folder: &Path) -> io::Result<()> {
    let _ = setsid(); // refused to one that leads its group already, which is as good
    let _ = rustix::thread::set_name(c"taffeta-keeper");
    std::env::set_current_dir("/")?;
    let lock = open_lock(folder)?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let watch = watch(folder)?;
    let journal = Journal::new(folder.into());
    let data = folder.parent().unwrap_or(folder).to_path_buf();
    let mut keeper = Keeper { journal, data, boot: boot_id(), doing: BTreeMap::new(), again: BTreeMap::new() };
    let mut second: Option<Child> = None;
    while let Some(next) = keeper.step() {
        if second.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
            second = Some(spawn(folder)?);
        }
        wait(&watch, Duration::from_millis(next.saturating_sub(boot_millis())).min(LOOK_EVERY));
    }
    drop(lock);
    if let Some(mut second) = second {
        let _ = second.wait(); // it finds nothing left and ends
    }
    Ok(())
}

/// Tells when something in the folder is new.
fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, folder, inotify::WatchFlags::MOVED_TO)?;
    Ok(watch)
}

fn wait(watch: &OwnedFd, most: Duration) {
    let most = Timespec::try_from(most).unwrap_or_default();
    let _ = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&most)); // an interruption is a look more
    let mut news = [0; 4_096];
    while rustix::io::read(watch, &mut news[..]).is_ok_and(|read| read > 0) {}
}

struct Keeper {
    journal: Journal,
    data: PathBuf,
    boot: String,
    /// What this process does, by fault.
    doing: BTreeMap<String, Doing>,
    /// When an undo that failed is tried again.
    again: BTreeMap<String, u64>,
}

impl Keeper {
    /// Does all that is to be done now; gives when there is more, or `None` when nothing is left.
    fn step(&mut self) -> Option<u64> {
        let mine = |entry: &Entry| entry.record.deed.is_keepers() && !entry.is_over();
        let entries: Vec<Entry> = self.journal.entries().into_iter().filter(mine).collect();
        entries.iter().filter_map(|entry| self.look_after(entry)).min()
    }

    /// One fault; gives when to look again, or `None` if it is over.
    fn look_after(&mut self, entry: &Entry) -> Option<u64> {
        let (id, now) = (&entry.record.id, boot_millis());
        if !entry.is_due(now, &self.boot) {
            return self.do_it(entry);
        }
        if let Some(again) = self.again.get(id).filter(|again| now < **again) {
            return Some(*again);
        }
        let mut doing = self.doing.remove(id).unwrap_or_default();
        match doing.undo(&entry.record, &self.journal, &self.data) {
            Ok(Step::Done) => {
                self.again.remove(id);
                self.tell(id, &Told::undone(None))
            }
            Ok(Step::Later(at)) => {
                self.doing.insert(id.clone(), doing);
                Some(at)
            }
            Err(why) => {
                self.doing.insert(id.clone(), doing);
                self.again.insert(id.clone(), now + AGAIN_MS);
                self.tell(id, &Told::not_undone(why));
                Some(now + AGAIN_MS)
            }
        }
    }

    fn do_it(&mut self, entry: &Entry) -> Option<u64> {
        let (record, id) = (&entry.record, &entry.record.id);
        let doing = self.doing.entry(id.clone()).or_default();
        // Said first where the agent could not say it any more; and of what was said before, another keeper began it.
        if entry.told.is_none() && record.deed.silences_agent() {
            let _ = self.journal.tell(id, &Told::active());
        }
        // From now: what was written may have taken longer than the agent is given for its answer.
        let now = boot_millis();
        match doing.act(record, now, &self.data) {
            Ok(Step::Done) if matches!(record.deed, super::journal::Deed::KillTask { .. }) => {
                // While it cannot be written down, it is known here that it was done.
                let again = self.tell(id, &Told::undone(None));
                if again.is_none() {
                    self.doing.remove(id);
                }
                again
            }
            Ok(step) => {
                if entry.told.is_none() && !record.deed.silences_agent() {
                    let _ = self.journal.tell(id, &Told::active());
                }
                match step {
                    Step::Done => Some(record.until),
                    Step::Later(at) => Some(at.min(record.until)),
                }
            }
            Err(why) => {
                let undone = doing.undo(record, &self.journal, &self.data);
                self.doing.remove(id);
                let was_on = entry.told.as_ref().is_some_and(|told| told.state == FaultState::Active);
                let what = if was_on { "it was over before its time" } else { "it could not be brought about" };
                match undone {
                    Ok(_) => {
                        let again = self.tell(id, &Told::undone(Some(format!("{what}: {why}"))));
                        if again.is_some() {
                            let _ = self.journal.ask_for_end(id); // and not tried anew
                        }
                        again
                    }
                    Err(left) => {
                        let _ = self.journal.ask_for_end(id);
                        self.tell(id, &Told::not_undone(format!("{why}; {left}")));
                        Some(now + AGAIN_MS)
                    }
                }
            }
        }
    }

    /// Writes it down. On a disk that takes nothing it is tried again.
    fn tell(&mut self, id: &str, told: &Told) -> Option<u64> {
        match self.journal.tell(id, told) {
            Ok(()) => None,
            Err(_) => Some(boot_millis() + AGAIN_MS),
        }
    }
}
