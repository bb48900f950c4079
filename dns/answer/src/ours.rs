//! Which names a snapshot answers for.

use crate::{Name, Snapshot, name::labels, reverse::reverse_address};

/// Most labels of a name in front of the domain that is worth a look: `_http._tcp.canary.web.shop`.
const LABELS_MAX: usize = 5;

impl Snapshot {
    /// Whether [`crate::answer`] has something to say of a name of class IN, be it that it does not exist. `name` is a
    /// whole name as in a packet, uncompressed, with the root's zero byte and in any case. Allocates nothing.
    pub fn answers_for(&self, name: &[u8]) -> bool {
        let Some((_, name)) = name.split_last() else { return false };
        let in_zone = |zone: &Name| is_within(name, zone.wire());
        let has_address = || reverse_address(name).is_some_and(|address| self.reverse.contains_key(&address));
        in_zone(&self.domain) || self.aliases.iter().any(|alias| in_zone(&alias.domain)) || has_address()
    }

    /// The fabric's own name for one that was written without its domain, as `web.shop` for `web.shop.fabric.internal`, if
    /// there is something of that name. `name` as for [`Self::answers_for`]. One label alone is nobody's: it means
    /// something else in each app.
    pub fn completed(&self, name: &[u8]) -> Option<Name> {
        let (_, name) = name.split_last()?;
        if !self.ready || !(2..=LABELS_MAX).contains(&labels(name).count()) {
            return None;
        }
        let whole = self.domain.below(labels(name)).ok()?;
        self.locate(&whole).and_then(|located| located.place).map(|_| whole)
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
