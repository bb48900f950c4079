//! JSON documents of names, as CONTRACT names their fields: what DNS answers and why, and the zone.
//!
//! Left out: how an answer is made, which is `taffeta-dns-answer`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What DNS answers, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResolveView {
    /// The name, in full.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub record_type: String,
    /// `NOERROR`, `NXDOMAIN`, ...
    pub status: String,
    /// The answer section.
    pub records: Vec<RecordView>,
    /// The additional section.
    pub additional: Vec<RecordView>,
    /// Instances that are not given out, and why.
    pub hidden: Vec<HiddenView>,
    /// All instances or machines that the name could stand for, given or not, and from which record that follows. More
    /// than the 100 that fit into an answer.
    #[serde(default)]
    pub behind: Vec<BehindView>,
    /// What else is to be said, in words.
    pub notes: Vec<String>,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// Owner name.
    pub name: String,
    /// `A`, `SRV`, ...
    #[serde(rename = "type")]
    pub record_type: String,
    /// Seconds.
    pub ttl: u32,
    /// As in a zone file.
    pub data: String,
}

/// An instance that is not given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HiddenView {
    /// Its label.
    pub instance: String,
    /// Its machine.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// What could stand behind a name: an instance, or a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BehindView {
    /// `2.web.shop`, or the machine's name.
    pub instance: String,
    /// Its machine.
    pub node: String,
    /// Where it listens.
    pub address: String,
    /// The port that an SRV record gives, if there is one.
    pub port: Option<u16>,
    /// Whether it is given, in this answer or, as one of more than fit, in others.
    pub given: bool,
    /// Why, or why not.
    pub reason: String,
    /// What this follows from: what its machine says; absent if the machine was not heard.
    pub source: Option<SourceView>,
}

/// The set of records of a machine, as the answering node holds it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Counts the starts of the machine's node.
    pub epoch: u64,
    /// Counts the changes since that start.
    pub seq: u64,
    /// Seconds since the answering node took in the newest of them.
    pub age_s: f64,
}

/// A part of the zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ZoneView {
    /// The zone.
    pub zone: String,
    /// Version of the answering node's view. Parts of one zone belong together if theirs are equal.
    pub serial: u32,
    /// The records, RRset by RRset; the SOA comes first and last.
    pub records: Vec<RecordView>,
    /// Where to go on; absent at the end.
    pub next: Option<usize>,
}
