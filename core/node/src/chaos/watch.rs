//! The agent's loop over its faults: ends what is due, starts a keeper where one is missing, tells what has changed.

use super::{
    Chaos, fill,
    inside::left,
    journal::{Deed, Entry, Told, boot_millis},
};
use crate::{
    api::{CHAOS_LASTS_MS_MAX, FaultState, FaultView},
    node::Core,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use taffeta_model::{ChaosBlock, Command, NodeId};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Pause between two looks while a fault is on.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause before something is tried again that needs the cluster.
const AGAIN: Duration = Duration::from_secs(2);
/// The same for the first time with the token: a cluster that was just founded takes it a moment later.
const AGAIN_SOON: Duration = Duration::from_millis(100);
/// Pause between two questions to nodes that have not said that their faults are undone.
const OVERDUE_EVERY: Duration = Duration::from_secs(10);

/// What the events have told of blocks. Of one whose end was heard at once, what is written down may tell later.
#[derive(Debug, Default)]
pub(super) struct BlockEvents {
    /// The block that is on, as far as was told.
    told: Option<ChaosBlock>,
    /// The last one that was told to be over.
    over: Option<ChaosBlock>,
}

impl BlockEvents {
    /// What there is to tell now that this is the block: that it is on, or that there is none any more.
    pub(super) fn news<'a>(&mut self, block: Option<&'a ChaosBlock>) -> Option<Option<&'a ChaosBlock>> {
        let is_old = block.is_some() && block == self.over.as_ref();
        if is_old || block == self.told.as_ref() {
            return None;
        }
        if let Some(over) = std::mem::replace(&mut self.told, block.cloned()) {
            self.over = Some(over);
        }
        Some(block)
    }
}

impl Core {
    /// Looks after the faults of this node as long as it runs. Wakes up only while there is one.
    pub(crate) async fn run_chaos(self: Arc<Self>) {
        let Some(chaos) = self.chaos.clone() else { return };
        // Told first: once this node is there, its keeper says at once that the end has come.
        chaos.remember_unheard();
        self.tell_changes(&chaos).await;
        chaos.note_ready();
        let mut directory = self.directory.subscribe();
        let mut stored = directory.borrow().chaos.blocked.clone();
        let mut events = BlockEvents { told: self.chaos_block(), over: None };
        let (mut keeper_at, mut overdue_at, mut register_at) = (Instant::now(), Instant::now(), Instant::now());
        let mut register_again = AGAIN_SOON;
        loop {
            let told = directory.borrow_and_update().chaos.clone();
            chaos.lift_told_block(stored.as_ref(), told.blocked.as_ref());
            stored.clone_from(&told.blocked);
            let block = self.chaos_block();
            if let Some(news) = events.news(block.as_ref()) {
                self.tell_block(news);
            }
            if block.is_some() {
                self.ask_for_all_ends();
            }
            let entries = chaos.unfinished();
            for entry in &entries {
                if entry.record.deed.is_keepers() && entry.record.boot == chaos.boot && Instant::now() >= keeper_at {
                    keeper_at = Instant::now() + Duration::from_secs(1);
                    if let Err(error) = chaos.ensure_keeper().await {
                        tracing::error!(%error, "the keeper of faults is missing");
                    }
                }
                self.look_after(&chaos, entry);
            }
            self.tell_changes(&chaos).await;
            if Instant::now() >= overdue_at {
                overdue_at = Instant::now() + OVERDUE_EVERY;
                self.ask_the_overdue().await;
            }
            if Instant::now() >= register_at && !self.register_token(&chaos, &told.tokens).await {
                register_at = Instant::now() + register_again;
                register_again = AGAIN.min(register_again * 2);
            }
            let registers = Instant::now() < register_at;
            let waits = !entries.is_empty();
            tokio::select! {
                () = chaos.news.notified() => {}
                changed = directory.changed() => if changed.is_err() { return },
                () = sleep(LOOK_EVERY), if waits => {}
                () = sleep_until(register_at), if registers => {}
                () = sleep(OVERDUE_EVERY), if !self.heard_faults.is_empty() => {}
            }
        }
    }

    /// Asks the nodes that have not said in time that their faults are undone, as far as they answer.
    async fn ask_the_overdue(&self) {
        let asked = self.heard_faults.overdue().into_iter().map(|node| async move {
            if let Ok(told) = self.view_of(node).await {
                self.heard_faults.settle(node, &told.faults).iter().for_each(|view| self.tell_fault(view));
            }
        });
        futures::future::join_all(asked).await;
    }

    /// Lets all members know this node's token, or that it has none any more; false if that is to be tried again.
    async fn register_token(&self, chaos: &Chaos, known: &BTreeMap<NodeId, [u8; 32]>) -> bool {
        let wanted = chaos.hurt().map(|hurt| hurt.token);
        if known.get(&self.me).copied() == wanted {
            return true;
        }
        if !self.directory.borrow().members.contains_key(&self.me) {
            return true; // the directory changes when it is one
        }
        let command = Command::OptIntoChaos { node: self.me, token: wanted };
        // Not for long: meanwhile no fault is ended.
        let Ok(stored) = timeout(AGAIN, self.submit(command)).await else { return false };
        stored.inspect_err(|error| tracing::debug!(%error, "the chaos token is not known to the others yet")).is_ok()
    }

    /// Takes a drain back, beside the loop: without a quorum that takes long, and other faults have ends as well.
    fn lift_drain(self: &Arc<Self>, chaos: &Arc<Chaos>, entry: &Entry) {
        let mut inside = chaos.inside();
        let is_lifting = inside.lifting.as_ref().is_some_and(|lifting| !lifting.is_finished());
        if is_lifting || chaos.journal.entry(&entry.record.id).is_none_or(|entry| entry.is_over()) {
            return;
        }
        let (core, chaos, entry) = (Arc::clone(self), Arc::clone(chaos), entry.clone());
        inside.lifting = Some(tokio::spawn(async move {
            let told = match core.submit(Command::Drain { node: core.me, on: false }).await {
                Ok(_) => Told::undone(None),
                Err(e) => Told::not_undone(format!("the node is still drained: {e}")),
            };
            drop(core);
            store(&chaos, &entry, &told);
            chaos.news.notify_one();
            if told.state != FaultState::Undone {
                sleep(AGAIN).await; // and then it is tried again
            }
        }));
    }

    /// One fault that is not over, as far as it is the agent's to do.
    fn look_after(self: &Arc<Self>, chaos: &Arc<Chaos>, entry: &Entry) {
        let (record, now) = (&entry.record, boot_millis());
        let id = record.id.as_str();
        if chaos.inside().begins.as_deref() == Some(id) {
            return; // what is undone before it is done would stay
        }
        let is_due = entry.is_due(now, &chaos.boot);
        let told = match &record.deed {
            Deed::Inside if is_due => {
                if let Some(hurt) = chaos.hurt() {
                    hurt.switches.turn_off(id, &record.fault);
                }
                chaos.inside().on.remove(id);
                Some(Told::undone(None))
            }
            // A node that has just started goes on with it until its time.
            Deed::Inside if entry.told.is_some() && !chaos.inside().on.contains(id) => match chaos.hurt() {
                None => Some(Told::undone(Some("the node was started again without --chaos".into()))),
                Some(hurt) => {
                    let until = Instant::now() + left(record.until, now);
                    match hurt.switches.turn_on(id, &record.fault, &record.ends, until) {
                        Ok(()) => {
                            chaos.inside().on.insert(id.into());
                            None
                        }
                        Err(why) => Some(Told::undone(Some(why))),
                    }
                }
            },
            Deed::Drain if is_due => {
                self.lift_drain(chaos, entry);
                None
            }
            Deed::HandOver if is_due => Some(Told::undone(None)),
            // What the machine's end has undone.
            Deed::Table { .. } | Deed::Kill { .. } | Deed::Stop | Deed::Pause if record.boot != chaos.boot => {
                Some(Told::undone(None))
            }
            Deed::Fill { file } if record.boot != chaos.boot => match fill::remove(file) {
                Ok(()) => Some(Told::undone(None)),
                Err(e) => Some(Told::not_undone(format!("{}: {e}", file.display()))),
            },
            Deed::Burn { group: Some(group), .. } | Deed::Hold { group: Some(group), .. }
                if record.boot != chaos.boot =>
            {
                match group.remove() {
                    Ok(()) => Some(Told::undone(None)),
                    Err(e) => Some(Told::not_undone(e.to_string())),
                }
            }
            Deed::Freeze { .. } | Deed::KillTask { .. } | Deed::Burn { .. } | Deed::Hold { .. }
                if record.boot != chaos.boot =>
            {
                Some(Told::undone(None))
            }
            Deed::Table { .. } | Deed::Kill { .. } | Deed::Stop | Deed::Pause => None,
            Deed::Freeze { .. } | Deed::KillTask { .. } | Deed::Burn { .. } | Deed::Hold { .. } | Deed::Fill { .. } => {
                None
            }
            Deed::Inside | Deed::Drain | Deed::HandOver => None,
        };
        if let Some(told) = told {
            store(chaos, entry, &told);
        }
    }

    /// Makes events of what has changed, and lets the others know.
    async fn tell_changes(self: &Arc<Self>, chaos: &Chaos) {
        let most = Duration::from_millis(CHAOS_LASTS_MS_MAX);
        let changed: Vec<(FaultView, Duration)> = {
            let known: Vec<String> = chaos.inside().told.keys().cloned().collect();
            let unfinished = chaos.unfinished();
            let mut inside = chaos.inside();
            let ended = known.iter().filter(|id| unfinished.iter().all(|entry| entry.record.id != **id));
            let ended: Vec<Entry> = ended.filter_map(|id| chaos.journal.entry(id)).collect();
            let now = boot_millis();
            let mut changed = vec![];
            for entry in unfinished.iter().chain(&ended) {
                let view = entry.view();
                let before = match view.state {
                    FaultState::Undone => inside.told.remove(&view.id),
                    state => inside.told.insert(view.id.clone(), state),
                };
                if before != Some(view.state) {
                    let left = match view.state {
                        FaultState::NotUndone => most, // nobody knows how long
                        FaultState::Planned | FaultState::Active | FaultState::Undone => left(entry.record.until, now),
                    };
                    changed.push((view, left.min(most)));
                }
            }
            changed
        };
        let told = changed.into_iter().map(|(view, left)| async move {
            self.tell_fault(&view);
            let unheard = self.tell_others(view.clone(), left).await;
            (view, left, unheard)
        });
        for (view, left, unheard) in futures::future::join_all(told).await {
            if view.state == FaultState::Undone
                && let Err(error) = chaos.journal.hear(&view.id)
            {
                tracing::warn!(%error, "that the end of a fault was told could not be noted: it is told again after a start");
            }
            self.keep_telling(view, left, unheard);
        }
    }
}

/// Writes down what became of a fault, if that is news.
fn store(chaos: &Chaos, entry: &Entry, told: &Told) {
    let id = entry.record.id.as_str();
    if entry.told.as_ref() != Some(told)
        && let Err(error) = chaos.journal.tell(id, told)
    {
        tracing::error!(%error, fault = id, "what became of a fault could not be stored, and is tried again");
    }
}
