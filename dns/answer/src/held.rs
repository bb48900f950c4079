//! An instance as a snapshot holds it.

use crate::{Instance, Name};
use smol_str::SmolStr;
use std::net::IpAddr;

/// An instance: names in lower case.
#[derive(Debug)]
pub(crate) struct Held {
    /// `2.web.shop.fabric.internal`; `None` if that is too long for DNS: it has no names then, and is not given.
    pub(crate) own: Option<Name>,
    pub(crate) label: SmolStr,
    pub(crate) node: SmolStr,
    pub(crate) address: IpAddr,
    pub(crate) ports: Box<[(SmolStr, u16)]>,
    pub(crate) tags: Box<[SmolStr]>,
    pub(crate) version: u64,
    pub(crate) weight: u16,
    pub(crate) serving: bool,
    pub(crate) suspected: bool,
}

impl Held {
    /// An instance of the service of this name.
    pub(crate) fn new(service: &Name, instance: Instance) -> Self {
        let Instance { app: _, service: _, label, node, address, ports, tags, version, weight, serving, suspected } =
            instance;
        let label = lowercase(label);
        let own = service.child(&label).ok();
        let ports = ports.into_iter().map(|(name, number)| (lowercase(name), number)).collect();
        Self { own, label, node, address, ports, tags: tags.into(), version, weight, serving, suspected }
    }

    /// Whether it was made from an equal instance.
    pub(crate) fn is(&self, instance: &Instance) -> bool {
        let Instance { app: _, service: _, label, node, address, ports, tags, version, weight, serving, suspected } =
            instance;
        let same_port = |((a, x), (b, y)): (&(SmolStr, u16), &(SmolStr, u16))| x == y && a.eq_ignore_ascii_case(b);
        (self.address, self.serving, self.suspected) == (*address, *serving, *suspected)
            && (self.version, self.weight) == (*version, *weight)
            && self.label.eq_ignore_ascii_case(label)
            && self.node == *node
            && self.ports.len() == ports.len()
            && self.ports.iter().zip(ports).all(same_port)
            && *self.tags == **tags
    }

    /// The number of a port by its name.
    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
    }

    /// Whether it is given out.
    pub(crate) fn is_shown(&self, hides_suspected: bool) -> bool {
        self.serving && !(hides_suspected && self.suspected)
    }
}

/// Whether suspected ones of some instances are hidden: another serves and is not suspected.
pub(crate) fn hides_suspected<'a>(instances: impl IntoIterator<Item = &'a Held>) -> bool {
    instances.into_iter().any(|i| i.serving && !i.suspected)
}

pub(crate) fn lowercase(text: SmolStr) -> SmolStr {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text }
}
