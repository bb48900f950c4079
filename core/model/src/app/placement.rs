//! What an app says about the machines that its tasks may, or should, be on.

use crate::{AppName, JobName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Most preferences of one job.
pub const PREFERENCES_MAX: usize = 16;

/// Largest weight of a preference, for and against.
pub const PREFERENCE_WEIGHT_MAX: i16 = 1000;

/// The priority of a job that says nothing about it.
pub const PRIORITY_DEFAULT: u8 = 50;

/// The highest priority.
pub const PRIORITY_MAX: u8 = 100;

/// A placement rule in Marathon's terms: `FIELD OPERATOR [VALUE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, `zone` or the name of an attribute; `@hostname`, `@zone` and `@region` mean the same as without `@`.
    pub field: String,
    /// The rule.
    pub operator: Operator,
}

/// Marathon's constraint operators, with the meaning that its documentation gives them. A machine without the field is
/// refused by all but [`Operator::Unlike`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// No two instances of the job where the field has the same value.
    Unique,
    /// Only where the field has this value; numbers are equal if they are so to a thousandth.
    Is(String),
    /// At most this many instances for each value of the field.
    MaxPer(u32),
    /// All instances where the field has this value, or that of the instance that was placed first.
    Cluster(Option<String>),
    /// Evenly over the values of the field: only where it has a value with the fewest instances of all values that have
    /// any, or one that has none. With a number, values that have none must be used until there are so many.
    GroupBy(Option<u32>),
    /// Only where a regular expression matches the whole value.
    Like(String),
    /// Only where it does not match the whole value, or the field is absent.
    Unlike(String),
}

/// A wish about the machine: [`Operator::Is`], [`Operator::Like`] or [`Operator::Unlike`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// What is wished.
    pub rule: Constraint,
    /// How much it counts against other preferences; negative: such machines come last. Not zero.
    pub weight: i16,
}

/// Which of several machines is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlacementStrategy {
    /// Over zones, then machines, then the emptiest: the loss of one of them takes few instances.
    #[default]
    Spread,
    /// The fullest that has room: others stay free for what is large.
    Pack,
}

/// A job of the same app, or of another one: `db` or `shop/db`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobRef {
    /// The app; `None` for the one that says it.
    pub app: Option<AppName>,
    /// The job.
    pub job: JobName,
}

/// Most bytes of a compiled regular expression: every machine's value is matched with it.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A regular expression that must match a whole value, as Marathon's LIKE does.
///
/// The error says what is wrong with it.
pub fn whole(pattern: &str) -> Result<regex_lite::Regex, String> {
    let build = |text: &str| regex_lite::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
    build(pattern).map_err(|e| e.to_string())?; // one that is none, as `a)|(b`, might be one between parentheses
    build(&format!("^(?:{pattern})$")).map_err(|e| e.to_string())
}

impl Constraint {
    /// The field without its `@`.
    pub fn plain_field(&self) -> &str {
        self.field.strip_prefix('@').unwrap_or(&self.field)
    }
}

impl fmt::Display for Constraint {
    /// As it is written in an app file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match &self.operator {
            Operator::Unique => write!(f, "{field} UNIQUE"),
            Operator::Is(value) => write!(f, "{field} IS {value}"),
            Operator::MaxPer(most) => write!(f, "{field} MAX_PER {most}"),
            Operator::Cluster(None) => write!(f, "{field} CLUSTER"),
            Operator::Cluster(Some(value)) => write!(f, "{field} CLUSTER {value}"),
            Operator::GroupBy(None) => write!(f, "{field} GROUP_BY"),
            Operator::GroupBy(Some(groups)) => write!(f, "{field} GROUP_BY {groups}"),
            Operator::Like(pattern) => write!(f, "{field} LIKE {pattern}"),
            Operator::Unlike(pattern) => write!(f, "{field} UNLIKE {pattern}"),
        }
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            Some(app) => write!(f, "{app}/{}", self.job),
            None => write!(f, "{}", self.job),
        }
    }
}

impl FromStr for JobRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (app, job) = match text.split_once('/') {
            Some((app, job)) => (Some(AppName::new(app).map_err(|e| e.to_string())?), job),
            None => (None, text),
        };
        Ok(Self { app, job: JobName::new(job).map_err(|e| e.to_string())? })
    }
}
