//! A type for each identity, so that a mix-up does not compile.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// Names that DNS uses below the fabric's domain, so no app may have them. A leading `_` is refused too.
pub const RESERVED_NAMES: [&str; 5] = ["node", "nodes", "leader", "voters", "tag"];

/// The first 8 bytes of the SHA-256 of a node's public key. A wiped disk makes a new key and so a new id: ids are
/// never reused, which consensus depends on. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// Identity of a cluster, random at birth. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// Public half of a join token; the secret half is stored only as its hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub u64);

macro_rules! hexadecimal {
    ($t:ident, $inner:ty, $digits:literal) => {
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $t {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                let bad = || InvalidName::NotHexadecimal(s.into());
                if !s.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(bad()); // the standard parser would take a sign
                }
                <$inner>::from_str_radix(s, 16).map(Self).map_err(|_| bad())
            }
        }
    };
}
hexadecimal!(NodeId, u64, "16");
hexadecimal!(ClusterId, u128, "32");
hexadecimal!(TokenId, u64, "16");

/// Why a name was refused. Nothing was changed; give another name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Not a DNS label.
    #[error("`{0}` is not a DNS label: use 1 to 63 of a-z, 0-9 and `-`, not beginning or ending with `-`")]
    NotALabel(String),
    /// One of [`RESERVED_NAMES`].
    #[error("`{0}` is reserved (node, nodes, leader, voters, tag and names that begin with `_` are)")]
    Reserved(String),
    /// An id that is not hexadecimal.
    #[error("`{0}` is not a hexadecimal id")]
    NotHexadecimal(String),
    /// Not `APP/SERVICE.INDEX`.
    #[error("`{0}` is not a task: write APP/SERVICE.INDEX, as in shop/web.2")]
    NotATask(String),
}

fn check_label(s: &str) -> Result<(), InvalidName> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if s.starts_with('_') {
        return Err(InvalidName::Reserved(s.into()));
    }
    let whole = (1..=63).contains(&s.len()) && s.bytes().all(inner) && !s.starts_with('-') && !s.ends_with('-');
    if whole { Ok(()) } else { Err(InvalidName::NotALabel(s.into())) }
}

macro_rules! label {
    ($(#[$doc:meta])* $t:ident, $reserved:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $t(SmolStr);

        impl $t {
            /// Checks and wraps a name.
            pub fn new(s: impl Into<String>) -> Result<Self, InvalidName> {
                let s = s.into();
                check_label(&s)?;
                let reserved: &[&str] = $reserved;
                if reserved.contains(&s.as_str()) { Err(InvalidName::Reserved(s)) } else { Ok(Self(s.into())) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $t {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, InvalidName> {
                Self::new(s)
            }
        }
        impl From<$t> for String {
            fn from(n: $t) -> Self {
                n.0.into()
            }
        }
        impl FromStr for $t {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                Self::new(s)
            }
        }
    };
}

label!(
    /// Name of an app: a DNS label that is not one of [`RESERVED_NAMES`].
    AppName, &RESERVED_NAMES
);
label!(
    /// Name of a service or batch job inside its app: a DNS label.
    JobName, &[]
);
label!(
    /// Name of a team, whose apps share a quota: a DNS label.
    TeamName, &[]
);
label!(
    /// Name of a volume, unique among those of its task: a DNS label.
    VolumeName, &[]
);
label!(
    /// Name of a machine, unique in the ring: a DNS label.
    NodeName, &[]
);

/// One instance slot of a job. It keeps its identity when it moves; each placement is a new attempt.
/// Indexes count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The app.
    pub app: AppName,
    /// The service or batch job.
    pub job: JobName,
    /// Stable index from 1; 0 is used for services that an embedded node publishes itself.
    pub index: u32,
}

impl TaskId {
    /// `web.2`: the task without its app.
    pub fn short(&self) -> String {
        format!("{}.{}", self.job, self.index)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.app, self.job, self.index)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName::NotATask(s.into());
        let (app, rest) = s.split_once('/').ok_or_else(bad)?;
        let (job, index) = rest.rsplit_once('.').ok_or_else(bad)?;
        // One spelling for one task: no sign and no leading zero.
        if !index.bytes().all(|b| b.is_ascii_digit()) || (index.len() > 1 && index.starts_with('0')) {
            return Err(bad());
        }
        Ok(Self { app: AppName::new(app)?, job: JobName::new(job)?, index: index.parse().map_err(|_| bad())? })
    }
}

/// Position of a decision: whoever obeyed a newer one refuses an older one. Ordered by generation, then term, then
/// log index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Raised when an operator recovers a lost quorum.
    pub generation: u64,
    /// Raft term.
    pub term: u64,
    /// Raft log index.
    pub index: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.term, self.index)
    }
}

#[cfg(test)]
mod tests;
