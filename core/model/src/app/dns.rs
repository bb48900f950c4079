//! How DNS is to answer for a job.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU8;

/// Share of the clients that an instance has unless its job says otherwise.
pub const WEIGHT_DEFAULT: u16 = 10;

/// Largest weight: a thousand to one is as good as all or nothing.
pub const WEIGHT_MAX: u16 = 1000;

/// Most records that a job may ask for in one answer: resolvers refuse larger sets.
pub const ANSWERS_MAX: u8 = 100;

/// How DNS is to answer for a job's instances. Changing it restarts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPolicy {
    /// Which instances come first.
    pub order: DnsOrder,
    /// Most records in one answer, up to [`ANSWERS_MAX`]; `None`: all that fit.
    pub answers: Option<NonZeroU8>,
    /// What is said while no instance serves.
    pub empty: DnsEmpty,
    /// Share of the clients that an instance of this version of the job has, 0 to [`WEIGHT_MAX`]; with 0 it is only
    /// given when there is no other.
    pub weight: u16,
}

impl Default for DnsPolicy {
    fn default() -> Self {
        Self { order: DnsOrder::Random, answers: None, empty: DnsEmpty::NoData, weight: WEIGHT_DEFAULT }
    }
}

/// Which instances come first in an answer, and, where not all are given, which are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsOrder {
    /// Any, each as likely.
    #[default]
    Random,
    /// Any, each as likely as its weight says.
    Weighted,
    /// Those on the client's machine, then those in its zone, then the nearest.
    Near,
}

/// What is said of a service without an instance that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsEmpty {
    /// Its name exists, without records.
    #[default]
    NoData,
    /// Its name does not exist.
    NxDomain,
}
