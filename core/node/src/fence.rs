//! How those of an older generation learn that it is over, and what they do then.
//!
//! Whoever gets a message of another generation shows its own proof to the sender and asks for the sender's. The proof is a
//! [`Recovery`], signed by the CA key, so nobody but a recovered voter can have made it. A node that is shown a newer one
//! believes nobody of its old generation from then on. If it holds a log, that log is not the cluster's any more: it stops
//! at once, and its next start, which follows by itself, puts the log aside and comes back as a member without one.

use crate::{
    folder::{Folder, file, load, save},
    generation::Marked,
    node::Core,
    start_error::StartError,
    wire::{Ask, Told},
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{NodeId, Recovery};
use taffeta_net::signed_by_authority;
use taffeta_store::{Disk, Offline};
use tokio::time::Instant;

/// How long a peer may take to show its proof.
const SHOW_LIMIT: Duration = Duration::from_secs(2);
/// One peer is not shown the proof more often than this.
const SHOW_EVERY: Duration = Duration::from_millis(300);
/// Peers that are shown it at about the same time; more wait for their next message.
const SHOWN_MAX: usize = 64;

/// Told to whoever speaks for another generation.
pub(crate) const OTHER_GENERATION: &str = "this is of another generation of the cluster";

impl Core {
    /// Takes the mark off a message. To whoever sent one of another generation the proof of this one is shown.
    pub(crate) fn unmark<'a>(self: &Arc<Self>, from: NodeId, message: &'a [u8]) -> Option<&'a [u8]> {
        match self.generation.unmark(message) {
            Marked::Same(rest) => Some(rest),
            Marked::Other(_) => {
                self.note_other_generation(from);
                None
            }
            Marked::Malformed => None,
        }
    }

    /// Counts a message of another generation, and compares proofs with its sender, soon but not always.
    pub(crate) fn note_other_generation(self: &Arc<Self>, from: NodeId) {
        metrics::counter!("taffeta_ring_refused_total", "reason" => "other_generation").increment(1);
        {
            let mut shown = self.shown.lock().expect("no panic while it is held");
            let now = Instant::now();
            shown.retain(|_, at| now.duration_since(*at) < SHOW_EVERY);
            if shown.contains_key(&from) || shown.len() >= SHOWN_MAX {
                return;
            }
            shown.insert(from, now);
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            match core.ask(from, &Ask::Generation(core.generation.recovery()), SHOW_LIMIT).await {
                Ok(Told::Generation(Some(theirs))) => core.take_recovery(from, theirs).await,
                Ok(_) => {}
                Err(error) => tracing::debug!(%from, %error, "generations could not be compared"),
            }
        });
    }

    /// Believes a newer generation if there is proof of it.
    pub(crate) async fn take_recovery(&self, from: NodeId, recovery: Recovery) {
        if !recovery.outranks(self.generation.recovery().as_ref()) {
            return;
        }
        if !self.is_proven(&recovery) && !self.is_vouched_for(&recovery, from) {
            self.learn_authorities(from).await;
            if !self.is_proven(&recovery) {
                return tracing::warn!(generation = recovery.generation, "a new generation was told without proof");
            }
        }
        let holds_log = self.store.is_initialised().await || self.has_state();
        // Stored before it is believed: a restart must not believe the old generation again.
        let name = if holds_log { file::FENCED } else { file::RECOVERY };
        if let Err(error) = save(&*self.folder, name, &recovery) {
            return tracing::error!(%error, "the new generation could not be stored");
        }
        if !self.generation.adopt(&recovery) {
            return;
        }
        let (generation, by) = (recovery.generation, recovery.node);
        tracing::warn!(generation, recovered_on = %by, "the cluster was recovered; this is its new generation");
        if holds_log {
            // First, as whoever watches consensus takes its end for a failure.
            self.restart(format!(
                "the cluster was recovered on another node and is in generation {generation} now; what this node knew of \
                 the old one is put aside"
            ));
            self.store.shutdown().await;
            return;
        }
        self.remote.send_modify(|remote| {
            (remote.leader, remote.heard, remote.voters) = (None, None, vec![by]);
        });
    }

    /// A CA may have come when this node was away. Whoever is believed by the cross certificates that it shows tells it with a
    /// renewal, which needs no generation: who spoke, if it holds the key, else any other; another one the next time.
    async fn learn_authorities(&self, from: NodeId) {
        let others = self.renewers(0);
        let pick = self.entropy.seed() % others.len().max(1) as u64;
        let other = others.get(usize::try_from(pick).unwrap_or_default());
        for node in [from].iter().chain(other) {
            match self.renew_by(*node).await {
                Ok(()) => return,
                Err(why) => tracing::debug!(from = %node, why, "no CA was learnt from it"),
            }
        }
    }

    /// Whether a voter tells it to a node whose directory is of that generation already: one that joined after the recovery,
    /// and perhaps after the CA had ended that has signed it. A voter holds the CA's key, and could sign it.
    fn is_vouched_for(&self, recovery: &Recovery, from: NodeId) -> bool {
        let known = self.directory.borrow().fence.generation;
        recovery.cluster == self.cluster && known > 0 && recovery.generation == known && self.votes_now(from)
    }

    /// Whether a CA that is believed has signed it.
    fn is_proven(&self, recovery: &Recovery) -> bool {
        let part = recovery.signed_part();
        let signed = |authority: &Vec<u8>| signed_by_authority(authority, &part, &recovery.signature);
        recovery.cluster == self.cluster && recovery.generation > 0 && self.papers().authorities.iter().any(signed)
    }

    /// The node has to be started anew from its folder; whoever runs it is told.
    pub(crate) fn restart(&self, why: String) {
        self.restart.send_replace(true);
        self.fail(why);
    }
}

/// The generation that the folder knows of.
pub(crate) fn known_recovery(folder: &dyn Folder) -> Result<Option<Recovery>, StartError> {
    Ok(load(folder, file::RECOVERY)?)
}

/// At start: puts aside the log of a generation that is over. It can be interrupted anywhere and done again.
pub(crate) fn put_aside(folder: &dyn Folder, disk: Box<dyn Disk>) -> Result<Box<dyn Disk>, StartError> {
    let Some(recovery) = load::<Recovery>(folder, file::FENCED)? else { return Ok(disk) };
    let mut offline = Offline::open(disk).map_err(StartError::failed)?;
    let survey = offline.survey();
    // A log of the new generation is never without its state: whoever has none gets a snapshot first.
    if survey.last.is_some() && recovery.outranks(survey.state.recovery.as_ref()) {
        folder.write(file::OLD_LOG, &offline.kept().map_err(StartError::failed)?)?;
        offline.forget().map_err(StartError::failed)?;
        tracing::warn!(kept = file::OLD_LOG, "the log of the old generation was put aside");
    }
    if recovery.outranks(known_recovery(folder)?.as_ref()) {
        save(folder, file::RECOVERY, &recovery)?;
    }
    folder.remove(file::FENCED)?;
    Ok(offline.into_disk())
}
