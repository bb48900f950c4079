//! Where a fault strikes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// A set of nodes. What is not a name is looked up, or drawn, when the fault begins. A task fault strikes one task,
/// drawn, on each of the nodes; at a [`Target::Service`] it strikes every running task of that service, and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The node of that name: `n2`, or `node=one` where the bare name would mean something else.
    Node(String),
    /// The leader of the voters; nobody if there is none at that moment: `leader`.
    Leader,
    /// All voters: `voters`.
    Voters,
    /// One node, drawn: `one`.
    One,
    /// As many nodes, drawn, as may fail while more than half are left, so nobody of one or two: `minority`.
    Minority,
    /// Just more than half of the nodes, drawn: `majority`.
    Majority,
    /// All nodes: `all`.
    All,
    /// The nodes of that zone: `zone=a`.
    Zone(String),
    /// The nodes that run a task of that service: `service=web/shop`, the service before its app.
    Service {
        /// Name of the app.
        app: String,
        /// Name of the service inside it.
        service: String,
    },
}

/// A target that cannot be meant. Nothing was changed; write it as the message says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{found}` is not {expected}")]
pub struct InvalidTarget {
    /// As given.
    pub found: String,
    /// What would be right.
    pub expected: &'static str,
}

const TARGET: &str = "a target: write leader, voters, one, minority, majority, all, \
    the name of a node, zone=NAME or service=SERVICE/APP";
const LABEL: &str = "a name: use 1 to 63 of a-z, 0-9 and `-`, not beginning or ending with `-`";
const ZONE: &str = "a zone: use 1 to 255 bytes without control characters";

impl Target {
    /// Checks the names in it: those of nodes, services and apps are DNS labels, as everywhere in the fabric.
    pub(crate) fn check(&self) -> Result<(), InvalidTarget> {
        match self {
            Self::Node(name) => check_name(name, is_label, LABEL),
            Self::Zone(name) => check_name(name, is_zone, ZONE),
            Self::Service { app, service } => {
                check_name(service, is_label, LABEL).and_then(|()| check_name(app, is_label, LABEL))
            }
            Self::Leader | Self::Voters | Self::One | Self::Minority | Self::Majority | Self::All => Ok(()),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "leader" => Some(Self::Leader),
            "voters" => Some(Self::Voters),
            "one" => Some(Self::One),
            "minority" => Some(Self::Minority),
            "majority" => Some(Self::Majority),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

fn check_name(name: &str, right: fn(&str) -> bool, expected: &'static str) -> Result<(), InvalidTarget> {
    if right(name) { Ok(()) } else { Err(InvalidTarget { found: name.into(), expected }) }
}

fn is_label(s: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&s.len()) && s.bytes().all(inner) && !s.starts_with('-') && !s.ends_with('-')
}

fn is_zone(s: &str) -> bool {
    (1..=255).contains(&s.len()) && !s.chars().any(char::is_control)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) if Self::from_word(name).is_some() => write!(f, "node={name}"),
            Self::Node(name) => f.write_str(name),
            Self::Leader => f.write_str("leader"),
            Self::Voters => f.write_str("voters"),
            Self::One => f.write_str("one"),
            Self::Minority => f.write_str("minority"),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
            Self::Zone(name) => write!(f, "zone={name}"),
            Self::Service { app, service } => write!(f, "service={service}/{app}"),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(s: &str) -> Result<Self, InvalidTarget> {
        let invalid = || InvalidTarget { found: s.into(), expected: TARGET };
        let target = match s.split_once('=') {
            Some(("node", name)) => Self::Node(name.into()),
            Some(("zone", name)) => Self::Zone(name.into()),
            Some(("service", path)) => {
                let (service, app) = path.split_once('/').ok_or_else(invalid)?;
                Self::Service { app: app.into(), service: service.into() }
            }
            Some(_) => return Err(invalid()),
            None => Self::from_word(s).map_or_else(|| bare_node(s), Ok)?,
        };
        target.check()?;
        Ok(target)
    }
}

/// What is no word of ours is a node's name; if it cannot be one, the reader is told all that may stand here.
fn bare_node(s: &str) -> Result<Target, InvalidTarget> {
    check_name(s, is_label, TARGET).map(|()| Target::Node(s.into()))
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;
    fn try_from(s: String) -> Result<Self, InvalidTarget> {
        s.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}
