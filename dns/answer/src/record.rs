//! Questions, records and answers.

use crate::Name;
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Type of a record, or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Target and port (RFC 2782).
    Srv,
    /// Text.
    Txt,
    /// How to reach a service by HTTP (RFC 9460).
    Https,
    /// How to reach a service (RFC 9460).
    Svcb,
    /// Pointer to a name.
    Ptr,
    /// Server of a zone.
    Ns,
    /// Start of a zone.
    Soa,
    /// One RRset of the name's (RFC 8482).
    Any,
    /// Whole zone: no answer, but a stream of them, [`crate::Snapshot::transfer`].
    Axfr,
    /// Changes of the zone; refused, a client then asks for the whole.
    Ixfr,
    /// A type that the fabric has no records of.
    Other(u16),
}

impl RecordType {
    /// Whether a question of this type asks for records of another.
    pub(crate) fn takes(self, record_type: Self) -> bool {
        self == record_type || self == Self::Any
    }
}

const TYPES: [(RecordType, u16, &str); 12] = [
    (RecordType::A, 1, "A"),
    (RecordType::Ns, 2, "NS"),
    (RecordType::Soa, 6, "SOA"),
    (RecordType::Ptr, 12, "PTR"),
    (RecordType::Txt, 16, "TXT"),
    (RecordType::Aaaa, 28, "AAAA"),
    (RecordType::Srv, 33, "SRV"),
    (RecordType::Svcb, 64, "SVCB"),
    (RecordType::Https, 65, "HTTPS"),
    (RecordType::Ixfr, 251, "IXFR"),
    (RecordType::Axfr, 252, "AXFR"),
    (RecordType::Any, 255, "ANY"),
];

impl From<u16> for RecordType {
    fn from(code: u16) -> Self {
        TYPES.iter().find(|t| t.1 == code).map_or(Self::Other(code), |t| t.0)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (TYPES.iter().find(|t| t.0 == *self), self) {
            (Some(known), _) => f.pad(known.2),
            (None, Self::Other(code)) => write!(f, "TYPE{code}"),
            (None, other) => unreachable!("{other:?} has a row in TYPES"),
        }
    }
}

impl FromStr for RecordType {
    type Err = UnknownType;

    /// Reads `A`, `srv` or `TYPE257`.
    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let known = TYPES.iter().find(|t| t.2.eq_ignore_ascii_case(text)).map(|t| t.0);
        let number = || text.to_ascii_uppercase().strip_prefix("TYPE")?.parse::<u16>().ok().map(Self::from);
        known.or_else(number).ok_or_else(|| UnknownType(text.into()))
    }
}

/// Not the name of a record type. Use A, AAAA, SRV, TXT, HTTPS, SVCB, PTR, NS, SOA, ANY or TYPE and a
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType(pub String);

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "`{text}` is not a record type: use A, AAAA, SRV, TXT, HTTPS, SVCB, PTR, NS, SOA, ANY or TYPE")?;
        f.write_str(" and a number")
    }
}

impl std::error::Error for UnknownType {}

/// Class of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The Internet: the only one that is answered.
    In,
    /// Any other, ANY included; refused.
    Other,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in the case it was asked in.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// The class.
    pub class: Class,
}

impl Question {
    /// A question of class IN.
    pub fn new(name: Name, record_type: RecordType) -> Self {
        Self { name, record_type, class: Class::In }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its owner.
    pub name: Name,
    /// Seconds that it may be cached.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service listens.
    Srv {
        /// Lower first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// Port.
        port: u16,
        /// Name whose addresses to connect to.
        target: Name,
    },
    /// Character strings of at most 255 bytes each.
    Txt(Vec<String>),
    /// How to reach a service by HTTP.
    Https(ServiceBinding),
    /// How to reach a service.
    Svcb(ServiceBinding),
    /// Another name.
    Ptr(Name),
    /// Server of the zone.
    Ns(Name),
    /// Start of the zone.
    Soa {
        /// First server.
        mname: Name,
        /// Mailbox of whoever is responsible.
        rname: Name,
        /// Version of the snapshot.
        serial: u32,
        /// Seconds that a negative answer may be cached.
        minimum: u32,
    },
}

/// How to reach a service (RFC 9460 section 2), in service mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceBinding {
    /// Lower first; from 1.
    pub priority: u16,
    /// Name whose addresses to connect to.
    pub target: Name,
    /// What is spoken there, as ALPN ids, the preferred first; never empty.
    pub alpn: &'static [&'static str],
    /// Whether nothing else is spoken, not even what is the default of the type.
    pub no_default_alpn: bool,
    /// Port.
    pub port: u16,
}

impl fmt::Display for ServiceBinding {
    /// `1 2.web.shop.fabric.internal. alpn="h2,http/1.1" port=443`, as in zone files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { priority, target, alpn, no_default_alpn, port } = self;
        write!(f, "{priority} {target} alpn=\"{}\"", alpn.join(","))?;
        f.write_str(if *no_default_alpn { " no-default-alpn" } else { "" })?;
        write!(f, " port={port}")
    }
}

impl Data {
    /// The same, of an instance that is so many steps further from the client.
    pub(crate) fn further_by(mut self, step: u8) -> Self {
        match &mut self {
            Self::Srv { priority, .. }
            | Self::Https(ServiceBinding { priority, .. })
            | Self::Svcb(ServiceBinding { priority, .. }) => {
                *priority += u16::from(step);
            }
            Self::A(_) | Self::Aaaa(_) | Self::Txt(_) | Self::Ptr(_) | Self::Ns(_) | Self::Soa { .. } => {}
        }
        self
    }

    /// The name whose addresses a client will ask for next.
    pub(crate) fn target(&self) -> Option<&Name> {
        match self {
            Self::Srv { target, .. } | Self::Ns(target) => Some(target),
            Self::Https(binding) | Self::Svcb(binding) => Some(&binding.target),
            Self::A(_) | Self::Aaaa(_) | Self::Txt(_) | Self::Ptr(_) | Self::Soa { .. } => None,
        }
    }

    /// Its type.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Srv { .. } => RecordType::Srv,
            Self::Txt(_) => RecordType::Txt,
            Self::Https(_) => RecordType::Https,
            Self::Svcb(_) => RecordType::Svcb,
            Self::Ptr(_) => RecordType::Ptr,
            Self::Ns(_) => RecordType::Ns,
            Self::Soa { .. } => RecordType::Soa,
        }
    }
}

/// The answer to a question. Inside the zone exactly one of `Data`, `NoData` and `NxDomain`, once there is a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records.
    Data {
        /// One RRset, owned by the name as it was asked, in the order of the service.
        records: Vec<Record>,
        /// Addresses of its targets, RRset by RRset.
        additional: Vec<Record>,
        /// The node is cut off from most of the ring: EDE 3.
        stale: bool,
    },
    /// The name exists, but not with this type (RFC 2308).
    NoData {
        /// The zone's SOA, with the TTL of negative answers.
        soa: Record,
        /// As in `Data`.
        stale: bool,
    },
    /// Neither this name nor any below it exists.
    NxDomain {
        /// As in `NoData`.
        soa: Record,
        /// As in `Data`.
        stale: bool,
    },
    /// In the zone, but the node has no view of the ring yet: SERVFAIL with EDE 14.
    NotReady,
    /// Another class, or a zone transfer.
    Refused,
    /// A name that is none of the fabric's: for an upstream resolver.
    NotOurs,
}
