//! The cluster's generation on everything between nodes. It is raised only when a cluster is recovered after its quorum was
//! lost for good: what then still speaks for the old generation is not to be believed.

use std::sync::{Arc, Mutex, MutexGuard};
use taffeta_model::{Bug, Recovery, planted};

/// This node's idea of the generation: the newest recovery that it knows with proof. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation(Arc<Mutex<Option<Recovery>>>);

/// A message of another node, as its mark tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked<'a> {
    /// Of this generation: the message.
    Same(&'a [u8]),
    /// Of another one: the message, which is not to be believed.
    Other(&'a [u8]),
    /// It has no mark.
    Malformed,
}

impl Generation {
    /// The newest recovery that is known; `None` in generation 0.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        self.held().clone()
    }

    /// The number.
    pub(crate) fn number(&self) -> u64 {
        self.held().as_ref().map_or(0, |recovery| recovery.generation)
    }

    /// Takes over a recovery whose proof was checked, if it ends what is known; says whether it does.
    pub(crate) fn adopt(&self, recovery: &Recovery) -> bool {
        let mut held = self.held();
        let newer = recovery.outranks(held.as_ref());
        if newer {
            *held = Some(recovery.clone());
        }
        newer
    }

    /// Puts it before a message: the number, and from 1 on four bytes of the proof. Should an operator ever recover twice
    /// from one generation, the two are told apart by these.
    pub(crate) fn mark(&self, message: &[u8]) -> Vec<u8> {
        let (number, tag) = self.tagged();
        let mut marked = postcard::to_stdvec(&number).expect("a number can be encoded");
        if number > 0 {
            marked.extend(tag);
        }
        marked.extend_from_slice(message);
        marked
    }

    /// Takes it off a message.
    pub(crate) fn unmark<'a>(&self, message: &'a [u8]) -> Marked<'a> {
        let Ok((theirs, rest)) = postcard::take_from_bytes::<u64>(message) else { return Marked::Malformed };
        let (tag, rest) = if theirs > 0 {
            let Some((tag, rest)) = rest.split_first_chunk::<4>() else { return Marked::Malformed };
            (*tag, rest)
        } else {
            ([0; 4], rest)
        };
        let same = (theirs, tag) == self.tagged() || planted(Bug::ForgetGeneration);
        if same { Marked::Same(rest) } else { Marked::Other(rest) }
    }

    /// Whether what has this mark, and nothing behind it, was said in this generation or a later one.
    pub(crate) fn is_present(&self, mark: &[u8]) -> bool {
        let later = || postcard::take_from_bytes::<u64>(mark).is_ok_and(|(theirs, _)| theirs > self.number());
        self.unmark(mark) == Marked::Same(&[]) || later()
    }

    fn tagged(&self) -> (u64, [u8; 4]) {
        let held = self.held();
        let tag = |r: &Recovery| r.signature.first_chunk::<4>().copied().unwrap_or_default();
        held.as_ref().map_or((0, [0; 4]), |recovery| (recovery.generation, tag(recovery)))
    }

    fn held(&self) -> MutexGuard<'_, Option<Recovery>> {
        self.0.lock().expect("no panic while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taffeta_model::{ClusterId, NodeId, UnixMillis};

    fn recovery(generation: u64, sign: u8) -> Recovery {
        let (node, date) = (NodeId(sign.into()), UnixMillis(5));
        Recovery { cluster: ClusterId(1), generation, node, date, signature: vec![sign; 64] }
    }

    #[test]
    fn a_message_of_another_generation_is_not_believed() {
        let (old, new) = (Generation::default(), Generation::default());
        assert!(new.adopt(&recovery(3, 7)));
        assert_eq!(old.unmark(&old.mark(b"news")), Marked::Same(b"news"));
        assert_eq!(new.unmark(&new.mark(b"news")), Marked::Same(b"news"));
        assert_eq!(new.unmark(&old.mark(b"news")), Marked::Other(b"news"));
        assert_eq!(old.unmark(&new.mark(b"news")), Marked::Other(b"news"));
        assert_eq!(old.unmark(b""), Marked::Malformed);
        assert_eq!(old.unmark(&[3, 7]), Marked::Malformed);
    }

    #[test]
    fn what_an_older_generation_has_signed_is_over_and_what_a_later_one_has_is_not() {
        let (old, new, other) = (Generation::default(), Generation::default(), Generation::default());
        new.adopt(&recovery(3, 7));
        other.adopt(&recovery(3, 8));
        let by = |generation: &Generation| generation.mark(&[]);
        assert!(old.is_present(&by(&old)) && old.is_present(&by(&new)) && new.is_present(&by(&new)));
        assert!(!new.is_present(&by(&old)) && !new.is_present(&by(&other)));
        assert!(!old.is_present(&[]) && !new.is_present(&[3]) && !new.is_present(&new.mark(b"x")));
    }

    #[test]
    fn two_recoveries_to_one_number_are_told_apart() {
        let (one, other) = (Generation::default(), Generation::default());
        one.adopt(&recovery(1, 7));
        other.adopt(&recovery(1, 8));
        assert_eq!(one.unmark(&other.mark(b"news")), Marked::Other(b"news"));
        assert!(one.adopt(&recovery(1, 8)) && !other.adopt(&recovery(1, 7)), "one of them is left");
        assert_eq!(one.unmark(&other.mark(b"news")), Marked::Same(b"news"));
    }

    #[test]
    fn a_generation_never_goes_back() {
        let generation = Generation::default();
        assert_eq!(generation.mark(b"x"), [0, b'x']);
        assert!(generation.adopt(&recovery(300, 9)));
        assert!(!generation.adopt(&recovery(2, 9)) && !generation.adopt(&recovery(300, 9)));
        assert_eq!(generation.mark(b"x"), [0xac, 0x02, 9, 9, 9, 9, b'x']);
        assert_eq!(generation.number(), 300);
    }
}
