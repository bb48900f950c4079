//! The cluster's generation on everything that gossips. It is raised only when a cluster is recovered after its quorum was
//! lost for good: what then still speaks for the old generation is not to be believed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// This node's idea of the generation. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation(Arc<AtomicU64>);

impl Generation {
    /// Takes over what consensus says. It only grows: an older one is what somebody has not heard of yet.
    pub(crate) fn learn(&self, generation: u64) {
        self.0.fetch_max(generation, Ordering::Relaxed);
    }

    /// Puts it before a message.
    pub(crate) fn mark(&self, message: &[u8]) -> Vec<u8> {
        let mut marked = postcard::to_stdvec(&self.0.load(Ordering::Relaxed)).expect("a number can be encoded");
        marked.extend_from_slice(message);
        marked
    }

    /// Takes it off a message of this generation; any other is counted and refused.
    pub(crate) fn unmark<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        match postcard::take_from_bytes::<u64>(message) {
            Ok((theirs, rest)) if theirs == self.0.load(Ordering::Relaxed) => Some(rest),
            Ok(_) | Err(_) => {
                metrics::counter!("taffeta_ring_refused_total", "reason" => "other_generation").increment(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_generation_is_refused() {
        let (old, new) = (Generation::default(), Generation::default());
        new.learn(3);
        assert_eq!(old.unmark(&old.mark(b"news")), Some(&b"news"[..]));
        assert_eq!(new.unmark(&old.mark(b"news")), None);
        assert_eq!(old.unmark(&new.mark(b"news")), None);
        assert_eq!(old.unmark(b""), None);
    }

    #[test]
    fn a_generation_never_goes_back() {
        let generation = Generation::default();
        generation.learn(300);
        generation.learn(2);
        assert_eq!(generation.mark(b"x"), [0xac, 0x02, b'x']);
    }
}
