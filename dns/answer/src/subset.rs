//! Instances of a service that have a tag or a version in common.

use crate::{
    held::{Held, hides_suspected, lowercase},
    layout::{Layout, Plan},
};
use smol_str::{SmolStr, format_smolstr};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// By the label that selects them, in lower case: a tag such as `canary`, or a version such as `v12`.
pub(crate) type Subsets = BTreeMap<SmolStr, Subset>;

/// Instances that carry a tag, or are of a version, whether they serve or not. Never empty.
#[derive(Debug)]
pub(crate) struct Subset {
    /// Positions among the service's instances.
    members: Vec<u32>,
    /// Whether suspected ones are hidden: another *of these* serves and is not suspected. Who asks for a canary is
    /// better served by one that may be dead than by none, however many others serve.
    pub(crate) hides_suspected: bool,
    layout: OnceLock<Layout>,
}

/// The subsets of instances. A label that is not free, as an instance has it or it is too long for a name, selects
/// nothing; and one that is a tag selects no version.
pub(crate) fn subsets(instances: &[Arc<Held>], is_free: impl Fn(&str) -> bool) -> Subsets {
    let mut tagged: BTreeMap<SmolStr, Vec<u32>> = BTreeMap::new();
    let mut of_version: BTreeMap<SmolStr, Vec<u32>> = BTreeMap::new();
    for (position, held) in (0u32..).zip(instances).filter(|(_, held)| held.own.is_some()) {
        for tag in held.tags.iter().filter(|tag| is_selector(tag)) {
            let members = tagged.entry(lowercase(tag.clone())).or_default();
            if members.last() != Some(&position) {
                members.push(position);
            }
        }
        if let Some(label) = version_label(held.version) {
            of_version.entry(label).or_default().push(position);
        }
    }
    of_version.extend(tagged);
    of_version.retain(|label, _| is_free(label));
    let subset = |(label, members): (SmolStr, Vec<u32>)| {
        let hides_suspected = hides_suspected(members.iter().map(|at| &*instances[*at as usize]));
        (label, Subset { members, hides_suspected, layout: OnceLock::new() })
    };
    of_version.into_iter().map(subset).collect()
}

impl Subset {
    /// Its members.
    pub(crate) fn instances<'a>(&'a self, all: &'a [Arc<Held>]) -> impl Iterator<Item = &'a Held> {
        self.members.iter().map(|at| &*all[*at as usize])
    }

    /// Its records, laid out for the first question.
    pub(crate) fn layout(&self, plan: Plan<'_>, all: &[Arc<Held>]) -> &Layout {
        self.layout.get_or_init(|| self.lay_out(plan, all))
    }

    /// Its records, laid out now.
    pub(crate) fn lay_out(&self, plan: Plan<'_>, all: &[Arc<Held>]) -> Layout {
        Layout::of(plan, self.instances(all).filter(|held| held.is_shown(self.hides_suspected)))
    }
}

/// Whether a tag can be a label: letters, digits, hyphens and underscores, at its ends letters and digits alone.
pub(crate) fn is_selector(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    ends && bytes.len() <= 63 && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
}

/// `v12`; an app without a version has none.
pub(crate) fn version_label(version: u64) -> Option<SmolStr> {
    (version > 0).then(|| format_smolstr!("v{version}"))
}
