//! Whose life it is that speaks in consensus.
//!
//! A voter that was set back to an older copy of its data folder has forgotten entries that it acknowledged and votes that
//! it gave; openraft's leader stops when it meets such a follower. So every consensus message and every reply carries the
//! life of its sender: the count of its starts and a number drawn at that start, both stored before it speaks, among the
//! lives before. What is known of others is the newest life heard since this node's start, and what the replicated state
//! has. A life is refused that began earlier than the known one, or is another one of the same count. A later one is
//! believed only if it descends from the known one, which its own folder tells: a copy that is started often enough counts
//! as far, but does not remember that life.
//!
//! A request says which life of the receiver its sender knows; the receiver answers only if it remembers that one. Whoever
//! calls for the first time in a later life is asked whether it remembers the known one, and calls again. One that does not
//! remember knows so that its folder is an older copy, before it has answered or been answered anything.

use crate::{
    fence::OTHER_GENERATION,
    generation::{Generation, Marked},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};
use taffeta_model::{Bug, Life, NodeId, planted};

/// Begins the refusal of a life that is over.
const OVER: &str = "a later life of this node is known";
/// Begins the question whether a life is remembered; its count and number follow.
const REMEMBERED: &str = "is this life remembered? ";
/// Lives that a folder remembers, in some 12 kB. An older one than all of them cannot be told from one that never was: a copy
/// would have to be started as often as this without meeting a voter.
pub(crate) const REMEMBERED_MAX: usize = 1_000;

/// Stands before a consensus message.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Head {
    /// The sender's life.
    from: Life,
    /// The life of the sender that the receiver knows, and that the sender remembers.
    after: Option<Life>,
    /// The receiver's life, as the sender knows it.
    to: Option<Life>,
}

/// The lives that are known.
#[derive(Debug)]
pub(crate) struct Lives {
    /// Of this node, as its folder has them, the present one last; at most [`REMEMBERED_MAX`].
    mine: Vec<Life>,
    generation: Generation,
    /// The lives of this node that others know, and that it remembers.
    after: Mutex<BTreeMap<NodeId, Life>>,
    /// Of nodes that take part in consensus, and of members that did.
    known: Mutex<BTreeMap<NodeId, Life>>,
    over: AtomicBool,
}

/// Why a consensus message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is of another generation.
    OtherGeneration,
    /// For this reason.
    Refused(String),
}

impl Lives {
    /// `mine` are the lives that this node's folder remembers, the present one last.
    pub(crate) fn new(mine: Vec<Life>, generation: Generation) -> Self {
        Self { mine, generation, after: Mutex::default(), known: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// This node's life.
    pub(crate) fn me(&self) -> Life {
        self.mine.last().copied().unwrap_or_default()
    }

    /// Whether this life was one of this folder's, as far as can be told.
    fn remembers(&self, life: Life) -> bool {
        self.mine.contains(&life) || self.mine.first().is_some_and(|first| life.start < first.start)
    }

    /// Whether a later life of this node is known: its folder is an older copy.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) && !planted(Bug::StartCopy)
    }

    /// The newest known life of a node.
    pub(crate) fn of(&self, node: NodeId) -> Option<Life> {
        self.known().get(&node).copied()
    }

    /// Takes over what the replicated state has, this node's own included.
    pub(crate) fn learn(&self, me: NodeId, lives: &BTreeMap<NodeId, Life>) {
        let mut known = self.known();
        for (node, life) in lives {
            if *node == me && !self.remembers(*life) {
                self.over.store(true, Ordering::Relaxed);
            }
            if known.get(node).is_none_or(|before| before.start < life.start) {
                known.insert(*node, *life);
            }
        }
    }

    /// Puts what is needed before a request. Gives also which life of the receiver it names, for the reply.
    pub(crate) fn request(&self, to: NodeId, request: &[u8]) -> Result<(Vec<u8>, Option<Life>), String> {
        if self.is_over() {
            return Err(OVER.into());
        }
        let after = self.after.lock().expect("no panic while it is held").get(&to).copied();
        let head = Head { from: self.me(), after, to: self.of(to) };
        let headed = postcard::to_extend(&head, Vec::with_capacity(request.len() + 64));
        let mut headed = headed.map_err(|e| e.to_string())?;
        headed.extend_from_slice(request);
        Ok((self.generation.mark(&headed), head.to))
    }

    /// Takes it off, unless the request may not be answered.
    pub(crate) fn take_request<'a>(&self, from: NodeId, request: &'a [u8]) -> Result<&'a [u8], NotTaken> {
        let refused = |why: String| Err(NotTaken::Refused(why));
        let headed = match self.generation.unmark(request) {
            Marked::Same(headed) => headed,
            Marked::Other(_) => return Err(NotTaken::OtherGeneration),
            Marked::Malformed => return refused("a consensus message without a mark".into()),
        };
        let (head, request) = match postcard::take_from_bytes::<Head>(headed) {
            Ok(taken) => taken,
            Err(e) => return refused(format!("a consensus message without a head: {e}")),
        };
        // First the sender's: one whose life is over knows older lives of others, too.
        self.take_life(from, head.from, head.after).map_err(NotTaken::Refused)?;
        if head.to.is_some_and(|to| !self.remembers(to)) {
            self.over.store(true, Ordering::Relaxed);
        }
        if self.is_over() {
            return refused("the node that was called has been set back to an older copy of its data folder".into());
        }
        Ok(request)
    }

    /// Puts this node's life before a reply.
    pub(crate) fn reply(&self, reply: &[u8]) -> Result<Vec<u8>, String> {
        let mut headed = postcard::to_stdvec(&self.me()).map_err(|e| e.to_string())?;
        headed.extend_from_slice(reply);
        Ok(headed)
    }

    /// Takes it off, unless the reply is not to be believed. `named` is the life of the callee that the request named: by
    /// answering, it has said that it remembers that one.
    pub(crate) fn take_reply(&self, from: NodeId, named: Option<Life>, reply: &[u8]) -> Result<Vec<u8>, String> {
        let taken = postcard::take_from_bytes::<Life>(reply);
        let (life, reply) = taken.map_err(|e| format!("a reply without a life: {e}"))?;
        self.take_life(from, life, named)?;
        Ok(reply.to_vec())
    }

    /// The callee refused. If it did because this node's life is over, or knows one that is not remembered here, this
    /// node's life is over. Says whether to call again.
    pub(crate) fn take_refusal(&self, by: NodeId, why: &str) -> bool {
        let asked = why.strip_prefix(REMEMBERED).and_then(|life| life.split_once(' '));
        let asked =
            asked.and_then(|(start, nonce)| Some(Life { start: start.parse().ok()?, nonce: nonce.parse().ok()? }));
        match asked {
            Some(life) if self.remembers(life) => {
                let before = self.after.lock().expect("no panic while it is held").insert(by, life);
                before != Some(life)
            }
            Some(_) => {
                self.over.store(true, Ordering::Relaxed);
                false
            }
            None => {
                if why.starts_with(OVER) {
                    self.over.store(true, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// Takes a node's life for its newest, if it is, or descends from, the one that is known.
    fn take_life(&self, node: NodeId, life: Life, after: Option<Life>) -> Result<(), String> {
        let mut known = self.known();
        if let Some(newest) = known.get(&node).filter(|_| !planted(Bug::StartCopy)) {
            if life.is_over(newest) {
                return Err(format!(
                    "{OVER}: start {} of it was heard, and this is start {}",
                    newest.start, life.start
                ));
            }
            if life != *newest && after != Some(*newest) {
                return Err(format!("{REMEMBERED}{} {}", newest.start, newest.nonce));
            }
        }
        known.insert(node, life);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, Life>> {
        self.known.lock().expect("no panic while it is held")
    }
}

/// In words.
impl From<NotTaken> for String {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::OtherGeneration => OTHER_GENERATION.into(),
            NotTaken::Refused(why) => why,
        }
    }
}

#[cfg(test)]
mod tests;
