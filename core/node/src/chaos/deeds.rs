//! What the keeper does to a node and its machine, and how each is undone. All of it may be repeated.

use super::{
    agent_file::{Agent, is_held},
    fill,
    journal::{Deed, Journal, Process, Record, boot_millis},
    load, netfilter,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{mem, path::Path, process::Child};
use taffeta_isolation_linux::harm;

/// The agent's answer travels before it is silenced, in milliseconds.
const WORD_OF_MOUTH_MS: u64 = 250;
/// Pause between two looks at an agent that comes back, in milliseconds.
const LOOK_MS: u64 = 50;
/// An agent that was told to end does so within this time, or what may keep it from it is taken away, in milliseconds.
const END_MS: u64 = 30_000;
/// And then within this one.
const LET_GO_MS: u64 = 5_000;
/// An agent that does not come up is started so often in a row.
const STARTS_MAX: u32 = 10;
/// And then once in this time, in milliseconds: what is in its way may be mended.
const REST_MS: u64 = 60_000;
/// An agent is ready within this time after its start, in milliseconds.
const START_MS: u64 = 20_000;

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Done,
    /// Something, at this moment of CLOCK_BOOTTIME.
    Later(u64),
}

/// What this process has begun for a fault.
#[derive(Debug, Default)]
pub(crate) struct Doing {
    /// When an agent is silenced that has been told so.
    act_at: Option<u64>,
    done: bool,
    children: Vec<Child>,
    /// An agent that was started.
    returning: Option<Child>,
    /// By when an agent is to be there.
    by: Option<u64>,
    starts: u32,
    /// When it was started last.
    started: u64,
    /// Until when it is waited for the end of an agent that was told to end.
    patience: Option<u64>,
    /// Whether such an agent was let go on, if it stood still.
    let_go: bool,
}

impl Doing {
    /// Brings it about, or does what another keeper has begun.
    pub(crate) fn act(&mut self, record: &Record, now: u64, data: &Path) -> Result<Step, String> {
        if self.done {
            let early = load::ended_early(&mut self.children).filter(|_| boot_millis() < record.until);
            return early.map_or(Ok(Step::Done), Err);
        }
        let at = *self.act_at.get_or_insert(now + WORD_OF_MOUTH_MS);
        if record.deed.silences_agent() && now < at {
            return Ok(Step::Later(at));
        }
        let text = |e: std::io::Error| e.to_string();
        match &record.deed {
            // One that is there already was made by another keeper.
            Deed::Table { family, name, rules } => {
                netfilter::remove(family, name)?;
                netfilter::make(rules, record.until.saturating_sub(now))?;
            }
            Deed::Kill { machine } => {
                if *machine {
                    // First, so that it starts nothing while the rest is killed.
                    signal(&record.agent, Signal::STOP);
                    harm::power_off(&data.join("tasks"));
                }
                signal(&record.agent, Signal::KILL);
            }
            Deed::Stop => signal(&record.agent, Signal::TERM),
            Deed::Pause => signal(&record.agent, Signal::STOP),
            Deed::Freeze { run } => harm::freeze(run).map_err(text)?,
            Deed::KillTask { run } => harm::kill_main(run).map_err(text)?,
            Deed::Burn { workers, percent, group } => {
                if let Some(group) = group {
                    group.make(load::burn_bounds(*workers, *percent)).map_err(text)?;
                }
                for _ in 0..*workers {
                    let (amount, group) = ((*percent).into(), group.as_ref());
                    self.children.push(load::start(load::BURN, amount, record.until, data, group).map_err(text)?);
                }
            }
            Deed::Hold { bytes, group } => {
                if let Some(group) = group {
                    group.make(load::hold_bounds(*bytes)).map_err(text)?;
                }
                self.children.push(load::start(load::HOLD, *bytes, record.until, data, group.as_ref()).map_err(text)?);
            }
            Deed::Fill { file } => fill::fill(file).map_err(text)?,
            Deed::Inside | Deed::Drain | Deed::HandOver => return Err("this is the agent's to do".into()),
        }
        self.done = true;
        Ok(Step::Done)
    }

    /// Undoes it, whoever has brought it about, and also if nobody has.
    pub(crate) fn undo(&mut self, record: &Record, journal: &Journal, data: &Path) -> Result<Step, String> {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
        match &record.deed {
            Deed::Table { family, name, .. } => netfilter::remove(family, name).map(|()| Step::Done),
            Deed::Kill { .. } | Deed::Stop => self.bring_back(boot_millis(), record, journal, data),
            Deed::Pause => {
                signal(&record.agent, Signal::CONT);
                Ok(Step::Done)
            }
            Deed::Freeze { run } => harm::thaw(run).map(|()| Step::Done).map_err(|e| e.to_string()),
            Deed::Fill { file } => fill::remove(file).map(|()| Step::Done).map_err(|e| e.to_string()),
            Deed::Burn { group: Some(group), .. } | Deed::Hold { group: Some(group), .. } => {
                group.remove().map(|()| Step::Done).map_err(|e| e.to_string())
            }
            // They end with the keeper that has started them.
            Deed::Burn { group: None, .. } | Deed::Hold { group: None, .. } | Deed::KillTask { .. } => Ok(Step::Done),
            Deed::Inside | Deed::Drain | Deed::HandOver => Ok(Step::Done),
        }
    }

    /// Starts the agent again, unless it is back already or was never gone.
    fn bring_back(&mut self, now: u64, record: &Record, journal: &Journal, data: &Path) -> Result<Step, String> {
        let old = &record.agent;
        let newest = Agent::load(journal).ok_or("`agent.json` does not tell how the agent was started: start it")?;
        let is_new = newest.process != *old && newest.process.lives();
        if is_new && newest.is_ready {
            self.returning = None; // whose parent is whoever adopts it when the keeper ends
            return Ok(Step::Done);
        }
        if old.lives() {
            // Told to end, perhaps by another keeper, it still does so; or it was spared.
            let told = self.done || now >= record.begins + WORD_OF_MOUTH_MS;
            let patience = *self.patience.get_or_insert(if told { now + END_MS } else { now });
            if now < patience {
                return Ok(Step::Later(now + LOOK_MS));
            }
            if told && !mem::replace(&mut self.let_go, true) {
                // Another fault may make it stand still, and it cannot end so.
                signal(old, Signal::CONT);
                self.patience = Some(now + LET_GO_MS);
                return Ok(Step::Later(now + LOOK_MS));
            }
            // Nobody but this keeper would start it again when it ends after all.
            return if self.done { Err("the agent was told to end and has not".into()) } else { Ok(Step::Done) };
        }
        let by = *self.by.get_or_insert(now + START_MS);
        if now >= by {
            self.by = None;
            return Err(format!(
                "an agent was started and is not ready after {} s: its log says why",
                START_MS / 1_000
            ));
        }
        match &mut self.returning {
            Some(child) => match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    (self.returning, self.by) = (None, None);
                    return Err(format!("the agent was started again and has ended ({status}): its log says why"));
                }
                Err(e) => return Err(format!("the agent that was started again is not known: {e}")),
            },
            None if is_new || is_held(data) => {} // somebody else was quicker
            None if self.starts >= STARTS_MAX && now < self.started + REST_MS => {
                self.by = None;
                let often = self.starts;
                return Err(format!(
                    "the agent was started {often} times in vain, and is again in a minute: correct it"
                ));
            }
            None => {
                (self.starts, self.started) = (self.starts + 1, now);
                self.returning = Some(newest.start().map_err(|e| format!("the agent cannot be started again: {e}"))?);
            }
        }
        Ok(Step::Later(now + LOOK_MS))
    }
}

/// Sends a signal to this very process: the number is held before it is looked at again.
fn signal(process: &Process, signal: Signal) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if process.lives() {
        let _ = pidfd_send_signal(&held, signal);
    }
}

#[cfg(test)]
mod tests;
