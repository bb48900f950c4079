//! Further zones, which the names of our own zone are served under: which zone a name is in, and what it means there.
//!
//! An alias holds no records. A name below its domain is read by its scheme as a name of our own zone, and whatever is
//! there is given, owned by the name that was asked; targets stay in our own zone. The longest domain that matches wins.

use crate::{
    Alias, Name, Scheme, Snapshot,
    schemes::{consul, kubernetes, mesos},
    zone::Place,
};
use std::cmp::Reverse;

/// Most further zones that are served; those behind are passed over. Each question is compared with every one.
pub const MAX_ALIASES: usize = 16;

/// What a name below an alias means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'q> {
    /// The name of our own zone with these labels below its domain.
    Own(Vec<&'q str>),
    /// The SRV records of that name alone.
    Ports(Vec<&'q str>),
    /// Nothing, but names below it mean something.
    Empty,
    /// A text.
    Text(&'static str),
}

/// Where a name is: in which of our zones, and what is there.
pub(crate) struct Located<'a> {
    pub(crate) apex: &'a Name,
    /// `None` if neither the name nor any below it exists.
    pub(crate) place: Option<Place<'a>>,
}

impl Snapshot {
    /// What is at a name of one of our zones; `None` outside of all.
    pub(crate) fn locate(&self, name: &Name) -> Option<Located<'_>> {
        let lower = name.to_lowercase();
        let (apex, alias) = self.zone_of(&lower)?;
        let labels = lower.strip(apex)?;
        let texts: Option<Vec<&str>> = labels.into_iter().map(|l| std::str::from_utf8(l).ok()).collect();
        let place = texts.and_then(|texts| match alias {
            None => self.place(&texts),
            Some(_) if texts.is_empty() => Some(Place::Apex),
            Some(alias) => self.place_of(self.meaning(alias, &texts)?),
        });
        Some(Located { apex, place: place.or_else(|| self.is_above_a_zone(&lower).then_some(Place::Empty)) })
    }

    /// What is at a name of one of our zones, if it exists.
    pub(crate) fn find(&self, name: &Name) -> Option<Place<'_>> {
        self.locate(name)?.place
    }

    /// The apex of the zone that a name is in, and the alias if it is not our own. The name is in lower case.
    pub(crate) fn zone_of(&self, lower: &Name) -> Option<(&Name, Option<&Alias>)> {
        let own = lower.is_within(&self.domain).then_some((&self.domain, None));
        let alias = self.aliases.iter().find(|alias| lower.is_within(&alias.domain));
        match (own, alias) {
            (Some(own), Some(alias)) if !alias.domain.is_within(&self.domain) => Some(own),
            (own, alias) => alias.map(|alias| (&alias.domain, Some(alias))).or(own),
        }
    }

    /// What a name means that has these labels, at least one, below an alias.
    pub(crate) fn meaning<'q>(&'q self, alias: &Alias, labels: &[&'q str]) -> Option<Meaning<'q>> {
        match alias.scheme {
            Scheme::Fabric => Some(Meaning::Own(labels.to_vec())),
            Scheme::Mesos => mesos(self, &alias.domain, labels),
            Scheme::Consul => consul(self, &alias.domain, labels),
            Scheme::Kubernetes => kubernetes(self, &alias.domain, labels),
        }
    }

    fn place_of<'a>(&'a self, meaning: Meaning<'_>) -> Option<Place<'a>> {
        match meaning {
            Meaning::Own(labels) => self.place(&labels),
            Meaning::Ports(labels) => self.place(&labels).map(|place| Place::Ports(Box::new(place))),
            Meaning::Empty => Some(Place::Empty),
            Meaning::Text(text) => Some(Place::Text(text)),
        }
    }

    /// Whether another of our zones begins somewhere below a name.
    fn is_above_a_zone(&self, lower: &Name) -> bool {
        let mut zones = self.aliases.iter().map(|alias| &alias.domain);
        zones.any(|domain| domain.is_within(lower)) || !self.aliases.is_empty() && self.domain.is_within(lower)
    }
}

/// The aliases that are served, the longest domains first: none at the root or where the own zone is, none twice, and
/// no more than [`MAX_ALIASES`].
pub(crate) fn served(aliases: Vec<Alias>, own: &Name) -> Vec<Alias> {
    let mut served: Vec<Alias> = Vec::new();
    for Alias { domain, scheme } in aliases.into_iter().take(MAX_ALIASES) {
        let is_known = domain == *own || served.iter().any(|alias| alias.domain == domain);
        if !is_known && domain.labels().next().is_some() {
            served.push(Alias { domain: domain.to_lowercase(), scheme });
        }
    }
    served.sort_by_key(|alias| Reverse(alias.domain.labels().count()));
    served
}
