//! Which names a snapshot answers for.

use crate::{Name, Snapshot, reverse::reverse_address};

impl Snapshot {
    /// Whether [`crate::answer`] has something to say of a name of class IN, be it that it does not exist. `name` is a
    /// whole name as in a packet, uncompressed, with the root's zero byte and in any case. Allocates nothing.
    pub fn answers_for(&self, name: &[u8]) -> bool {
        let Some((_, name)) = name.split_last() else { return false };
        let in_zone = |zone: &Name| is_within(name, zone.wire());
        let has_address = || reverse_address(name).is_some_and(|address| self.reverse.contains_key(&address));
        in_zone(&self.domain) || self.aliases.iter().any(|alias| in_zone(&alias.domain)) || has_address()
    }
}

/// The end of a name may look like a zone by chance, in the middle of a label.
fn is_within(name: &[u8], zone: &[u8]) -> bool {
    let Some(below) = name.len().checked_sub(zone.len()) else { return false };
    let mut at = 0;
    while at < below {
        at += 1 + usize::from(name[at]);
    }
    at == below && name[below..].eq_ignore_ascii_case(zone)
}
