//! A persistent set whose members count how many sources they have, and that gives a member by its position.
//!
//! Names that several services share (a browsing pointer, a pointer to an address) go when their last source goes.
//! Positions let an answer take a fair sample without a walk of the set. A small set is a plain list.

use imbl::{OrdMap, Vector};

/// Members up to which a set is a list. A tree takes some kilobytes, and most addresses have one or two names.
const LISTED_MAX: usize = 24;

/// A set with counts. Clones share what is equal; adding or taking away costs the logarithm of its size.
#[derive(Clone, Debug)]
pub(crate) enum Counted<K: Ord> {
    /// In no order.
    Listed(Vec<(K, u32)>),
    /// Never empty; stays one until it is.
    Indexed {
        /// Of each member its count, and where it is in `members`.
        slots: OrdMap<K, Slot>,
        /// Each once, in no order.
        members: Vector<K>,
    },
}

/// Of one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    count: u32,
    position: usize,
}

impl<K: Ord> Default for Counted<K> {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl<K: Ord + Clone> Counted<K> {
    /// Number of members, each counted once.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Listed(list) => list.len(),
            Self::Indexed { members, .. } => members.len(),
        }
    }

    /// The member at a position below [`Self::len`]. Positions change with the set.
    pub(crate) fn at(&self, position: usize) -> &K {
        match self {
            Self::Listed(list) => &list[position].0,
            Self::Indexed { members, .. } => &members[position],
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        (0..self.len()).map(|position| self.at(position))
    }

    /// Adds a source of a member.
    pub(crate) fn add(&mut self, member: K) {
        match self {
            Self::Listed(list) => match list.iter_mut().find(|(known, _)| *known == member) {
                Some((_, count)) => *count += 1,
                None => {
                    list.push((member, 1));
                    self.index_if_large();
                }
            },
            Self::Indexed { slots, members } => match slots.get_mut(&member) {
                Some(slot) => slot.count += 1,
                None => {
                    slots.insert(member.clone(), Slot { count: 1, position: members.len() });
                    members.push_back(member);
                }
            },
        }
    }

    /// Takes a source of a member away, and the member with its last one. Panics if it has none.
    pub(crate) fn take(&mut self, member: &K) {
        match self {
            Self::Listed(list) => {
                let position = list.iter().position(|(known, _)| known == member).expect("it was added");
                list[position].1 -= 1;
                if list[position].1 == 0 {
                    list.swap_remove(position);
                }
            }
            Self::Indexed { slots, members } => {
                let slot = slots.get_mut(member).expect("it was added");
                slot.count -= 1;
                if slot.count > 0 {
                    return;
                }
                let hole = slot.position;
                slots.remove(member);
                let last = members.pop_back().expect("one more than the slots");
                if hole < members.len() {
                    slots.get_mut(&last).expect("every member has a slot").position = hole;
                    members.set(hole, last);
                }
                if members.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    fn index_if_large(&mut self) {
        let Self::Listed(list) = self else { return };
        if list.len() > LISTED_MAX {
            let members: Vector<K> = list.iter().map(|(member, _)| member.clone()).collect();
            let slot = |(position, (member, count)): (usize, (K, u32))| (member, Slot { count, position });
            let slots = std::mem::take(list).into_iter().enumerate().map(slot).collect();
            *self = Self::Indexed { slots, members };
        }
    }
}

#[cfg(test)]
impl<K: Ord + Clone> Counted<K> {
    /// Every member with its count. Panics if the two halves of an indexed set disagree.
    pub(crate) fn counts(&self) -> std::collections::BTreeMap<K, u32> {
        match self {
            Self::Listed(list) => list.iter().cloned().collect(),
            Self::Indexed { slots, members } => {
                assert_eq!(slots.len(), members.len());
                assert!(slots.iter().all(|(member, slot)| members[slot.position] == *member));
                slots.iter().map(|(member, slot)| (member.clone(), slot.count)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn counts_equal_those_of_a_map(adds in prop::collection::vec((any::<bool>(), 0..60u8), 0..400)) {
            let (mut set, mut model) = (Counted::default(), BTreeMap::<u8, u32>::new());
            for (adding, member) in adds {
                if adding {
                    set.add(member);
                    *model.entry(member).or_default() += 1;
                } else if let Some(count) = model.get_mut(&member) {
                    set.take(&member);
                    *count -= 1;
                    model.retain(|_, count| *count > 0);
                }
                prop_assert_eq!(set.counts(), model.clone());
                prop_assert_eq!(set.len(), model.len());
            }
            let members: std::collections::BTreeSet<u8> = set.iter().copied().collect();
            prop_assert!(members.iter().eq(model.keys()));
        }
    }
}
