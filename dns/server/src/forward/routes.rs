//! Who is to be asked about a name.

use super::special::{Special, zones};
use std::{collections::BTreeMap, net::SocketAddr};
use taffeta_dns_answer::Name;

/// Suffixes with upstreams of their own: more make a configuration of another kind.
const SUFFIXES_MAX: usize = 64;

/// The place of the machine's upstreams among the groups; suffix number n has n + 1.
pub(crate) const MACHINE: usize = 0;

/// Decides by the longest suffix that fits.
pub(crate) struct Routes {
    by_suffix: BTreeMap<Box<[u8]>, Route>,
}

/// Where a question goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the upstreams of this place.
    Group(usize),
    /// Nowhere; this zone is special.
    Special(Name, Special),
}

impl Routes {
    /// What is configured goes before what is special of the same name.
    pub(crate) fn new(suffixes: &[(Name, Vec<SocketAddr>)], forward_private_reverse: bool) -> Self {
        let special = zones(forward_private_reverse).into_iter();
        let mut by_suffix: BTreeMap<_, _> =
            special.map(|(name, special)| (wire(&name), Route::Special(name, special))).collect();
        let groups = counted(suffixes).iter().enumerate();
        by_suffix.extend(groups.map(|(i, (name, _))| (wire(name), Route::Group(i + 1))));
        Self { by_suffix }
    }

    /// `name` is in lower case and in wire form, with the root's zero.
    pub(crate) fn find(&self, name: &[u8]) -> &Route {
        let mut rest = name;
        loop {
            if let Some(route) = self.by_suffix.get(rest) {
                return route;
            }
            match rest.split_first() {
                Some((&len, tail)) if len > 0 => rest = tail.get(usize::from(len)..).unwrap_or_default(),
                Some(_) | None => return &Route::Group(MACHINE),
            }
        }
    }
}

/// Those of the configured suffixes that count.
pub(crate) fn counted(suffixes: &[(Name, Vec<SocketAddr>)]) -> &[(Name, Vec<SocketAddr>)] {
    &suffixes[..suffixes.len().min(SUFFIXES_MAX)]
}

/// In lower case and wire form, with the root's zero.
pub(crate) fn wire(name: &Name) -> Box<[u8]> {
    let mut wire = Vec::new();
    for label in name.labels() {
        wire.push(u8::try_from(label.len()).expect("a label is at most 63 bytes"));
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    wire.into()
}
