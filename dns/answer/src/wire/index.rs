//! Services by the hash of their names: a question costs one look-up, however many there are.
//!
//! A persistent trie, so that snapshots share it. Its keys are hashes, compared in place, for the names are elsewhere in
//! memory; whose hash is the same as another's shares its slot.

use crate::service::ServiceEntry;
use foldhash::fast::FixedState;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};
use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

/// Who finds two names of one hash gains a walk of two names; nothing secret hangs on it.
const HASH: FixedState = FixedState::with_seed(0);

/// A persistent map from app and service in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(GenericHashMap<u64, Slot, AsIs, DefaultSharedPtr>);

#[derive(Clone, Debug)]
enum Slot {
    One(Arc<ServiceEntry>),
    /// Never empty.
    Several(Arc<[Arc<ServiceEntry>]>),
}

impl Index {
    /// Number of hashes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The only service of a [`hash`], if there is one: as a rule that of the names.
    #[inline]
    pub(crate) fn candidate(&self, hash: u64) -> Option<&ServiceEntry> {
        match self.0.get(&hash)? {
            Slot::One(entry) => Some(entry),
            Slot::Several(_) => None,
        }
    }

    /// A service, by names in lower case.
    #[inline]
    pub(crate) fn service(&self, app: &str, service: &str) -> Option<&ServiceEntry> {
        self.at(hash(app, service), app, service)
    }

    #[inline]
    fn at(&self, hash: u64, app: &str, service: &str) -> Option<&ServiceEntry> {
        let is = |entry: &ServiceEntry| is_named(entry, app, service);
        match self.0.get(&hash)? {
            Slot::One(entry) => Some(&**entry).filter(|e| is(e)),
            Slot::Several(entries) => entries.iter().map(|e| &**e).find(|e| is(e)),
        }
    }

    /// Sets a service, or takes it away.
    pub(crate) fn set(&mut self, app: &str, service: &str, entry: Option<Arc<ServiceEntry>>) {
        self.set_at(hash(app, service), app, service, entry);
    }

    fn set_at(&mut self, hash: u64, app: &str, service: &str, entry: Option<Arc<ServiceEntry>>) {
        let is_other = |e: &&Arc<ServiceEntry>| !is_named(e, app, service);
        let others: Vec<Arc<ServiceEntry>> = match self.0.get(&hash) {
            Some(Slot::One(one)) => [one].into_iter().filter(is_other).cloned().collect(),
            Some(Slot::Several(entries)) => entries.iter().filter(is_other).cloned().collect(),
            None => Vec::new(),
        };
        let mut all: Vec<_> = others.into_iter().chain(entry).collect();
        match (all.pop(), all.is_empty()) {
            (None, _) => drop(self.0.remove(&hash)),
            (Some(one), true) => drop(self.0.insert(hash, Slot::One(one))),
            (Some(last), false) => {
                all.push(last);
                self.0.insert(hash, Slot::Several(all.into()));
            }
        }
    }
}

/// Whether a service has this name: its own begins with both labels.
#[inline]
fn is_named(entry: &ServiceEntry, app: &str, service: &str) -> bool {
    let (first, rest) = entry.name.wire().split_at(service.len().min(entry.name.wire().len() - 1) + 1);
    first[1..] == *service.as_bytes()
        && rest.get(1..).is_some_and(|rest| rest.starts_with(app.as_bytes()))
        && usize::from(first[0]) == service.len()
        && usize::from(rest[0]) == app.len()
}

/// Of the names of an app and a service in lower case.
#[inline]
pub(crate) fn hash(app: &str, service: &str) -> u64 {
    let mut hasher = HASH.build_hasher();
    hasher.write(app.as_bytes());
    // Bytes alone say not where a name ends.
    hasher.write_u8(b'.');
    hasher.write(service.as_bytes());
    hasher.finish()
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs;

struct Kept(u64);

impl BuildHasher for AsIs {
    type Hasher = Kept;

    fn build_hasher(&self) -> Kept {
        Kept(0)
    }
}

impl Hasher for Kept {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, ServiceState};

    fn entry(name: &str) -> Option<Arc<ServiceEntry>> {
        let name: Name = format!("{name}.fabric.internal").parse().unwrap();
        Some(Arc::new(ServiceEntry::new(name, ServiceState::default(), None)))
    }

    #[test]
    fn services_of_one_hash_are_told_apart() {
        let mut index = Index::default();
        for (app, service) in [("shop", "web"), ("shop", "we"), ("sho", "web"), ("shop", "web")] {
            index.set_at(7, app, service, entry(&format!("{service}.{app}")));
        }
        let found = |index: &Index, app, service| index.at(7, app, service).map(|entry| entry.name.to_string());
        assert_eq!(found(&index, "sho", "web").unwrap(), "web.sho.fabric.internal.");
        assert_eq!(found(&index, "shop", "web").unwrap(), "web.shop.fabric.internal.");
        assert_eq!(found(&index, "hop", "web"), None);
        assert!(index.candidate(7).is_none());
        index.set_at(7, "shop", "web", None);
        index.set_at(7, "hop", "web", None);
        assert_eq!(found(&index, "shop", "web"), None);
        assert_eq!(found(&index, "shop", "we").unwrap(), "we.shop.fabric.internal.");
        index.set_at(7, "shop", "we", None);
        assert_eq!(index.candidate(7).unwrap().name.to_string(), "web.sho.fabric.internal.");
        index.set_at(7, "sho", "web", None);
        assert_eq!(index.len(), 0);
    }
}
