//! The user that a task runs as. Only its machine knows who that is.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest name of a user or group in bytes (`LOGIN_NAME_MAX` of Linux, without the zero byte).
const NAME_BYTES_MAX: usize = 255;

/// The number that means "no change" in calls of the kernel, and so is nobody's.
const NOBODYS: u32 = u32::MAX;

/// A user, and a group if it is to be another than the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunAs {
    /// The user.
    pub user: Account,
    /// The group. `None`: the user's own, and all others that it is a member of.
    pub group: Option<Account>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By its number.
    Id(u32),
    /// By its name on the machine.
    Name(String),
}

impl RunAs {
    /// Refuses what no machine can know.
    pub(super) fn check(&self) -> Result<(), String> {
        self.to_string().parse().map(|_: Self| ())
    }
}

impl FromStr for RunAs {
    type Err = String;

    /// `www-data`, `www-data:adm`, `1000`, `1000:1000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group.parse()?)),
            None => (text, None),
        };
        Ok(Self { user: user.parse()?, group })
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let id = text.parse().ok().filter(|id| *id != NOBODYS);
            return id.map(Self::Id).ok_or_else(|| format!("`{text}` is too large for the number of a user or group"));
        }
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ':' | ',' | '/');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.starts_with('-') || !text.chars().all(plain) {
            return Err(format!(
                "`{text}` is not a user or group; expected a name or a number, as in `www-data` or `1000:1000`"
            ));
        }
        Ok(Self::Name(text.into()))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => write!(f, "{}", self.user),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

impl From<RunAs> for String {
    fn from(run_as: RunAs) -> Self {
        run_as.to_string()
    }
}

impl TryFrom<String> for RunAs {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
