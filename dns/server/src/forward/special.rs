//! Names that have no meaning beyond this machine or its network: answered here, never asked about.

use crate::encode::{Reply, ResponseCodeOrNoError};
use hickory_proto::op::ResponseCode;
use std::net::{Ipv4Addr, Ipv6Addr};
use taffeta_dns_answer::{Data, Name, Question, Record, RecordType};

/// TTL of all such records (RFC 6303 section 3), in seconds.
const TTL: u32 = 10_800;

/// What is true of a zone and all below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// It is empty (RFC 6303 section 3).
    Empty,
    /// Every name in it exists, and has nothing.
    NoData,
    /// Every name in it is this machine (RFC 6761 section 6.3).
    Localhost,
    /// It is the reverse of a loopback address.
    Loopback,
}

/// Zones that concern this machine alone or that nobody has.
const NOBODYS: &[(&str, Special)] = &[
    ("localhost", Special::Localhost),
    ("1.0.0.127.in-addr.arpa", Special::Loopback),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Special::Loopback),
    // RFC 6761 sections 6.2 and 6.4, RFC 6762 section 22.1, RFC 7686, RFC 9476.
    ("test", Special::Empty),
    ("invalid", Special::Empty),
    ("local", Special::Empty),
    ("onion", Special::Empty),
    ("alt", Special::Empty),
    // Who asks for the encrypted twin of his resolver means us, who have not said that there is one (RFC 9462
    // section 6.4). home.arpa. is missing here: what it means is for the network's own resolver to say (RFC 8375).
    ("resolver.arpa", Special::NoData),
    // RFC 6303 sections 4.2 to 4.6: this network, loopback, link-local, documentation, broadcast, unspecified.
    ("0.in-addr.arpa", Special::Empty),
    ("127.in-addr.arpa", Special::Empty),
    ("254.169.in-addr.arpa", Special::Empty),
    ("2.0.192.in-addr.arpa", Special::Empty),
    ("100.51.198.in-addr.arpa", Special::Empty),
    ("113.0.203.in-addr.arpa", Special::Empty),
    ("255.255.255.255.in-addr.arpa", Special::Empty),
    ("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Special::Empty),
    ("8.e.f.ip6.arpa", Special::Empty),
    ("9.e.f.ip6.arpa", Special::Empty),
    ("a.e.f.ip6.arpa", Special::Empty),
    ("b.e.f.ip6.arpa", Special::Empty),
    ("8.b.d.0.1.0.0.2.ip6.arpa", Special::Empty),
];

/// Zones of the private addresses of a network, of which its own resolver may know (RFC 6303 sections 4.1 and 4.4).
const PRIVATE: [&str; 5] =
    ["10.in-addr.arpa", "168.192.in-addr.arpa", "c.f.ip6.arpa", "d.f.ip6.arpa", "16.172.in-addr.arpa"];
/// 172.17/16 to 172.31/16, and 100.64/10 (RFC 7793).
const PRIVATE_RANGES: [(std::ops::RangeInclusive<u8>, &str); 2] =
    [(17..=31, "172.in-addr.arpa"), (64..=127, "100.in-addr.arpa")];

/// All special zones; those of private addresses only if nobody may be asked about them.
pub(crate) fn zones(forward_private_reverse: bool) -> Vec<(Name, Special)> {
    let parse = |text: &str| text.parse::<Name>().expect("a constant that is a name");
    let mut zones: Vec<_> = NOBODYS.iter().map(|(name, special)| (parse(name), *special)).collect();
    if !forward_private_reverse {
        zones.extend(PRIVATE.iter().map(|name| (parse(name), Special::Empty)));
        for (range, parent) in PRIVATE_RANGES {
            zones.extend(range.map(|octet| (parse(&format!("{octet}.{parent}")), Special::Empty)));
        }
    }
    zones
}

/// The reply, with authority: nobody knows better.
pub(crate) fn reply(zone: &Name, special: Special, question: &Question) -> Reply {
    let apex = question.name == *zone;
    let exists = apex || matches!(special, Special::NoData | Special::Localhost);
    let answers = data(zone, special, question.record_type, apex);
    let authority = if answers.is_empty() { vec![record(zone, soa(zone))] } else { Vec::new() };
    Reply {
        code: ResponseCodeOrNoError(if exists { ResponseCode::NoError } else { ResponseCode::NXDomain }),
        authoritative: true,
        answers: answers.into_iter().map(|data| record(&question.name, data)).collect(),
        authority,
        ..Reply::default()
    }
}

fn data(zone: &Name, special: Special, record_type: RecordType, apex: bool) -> Vec<Data> {
    match (record_type, special) {
        (RecordType::A | RecordType::Any, Special::Localhost) => vec![Data::A(Ipv4Addr::LOCALHOST)],
        (RecordType::Aaaa, Special::Localhost) => vec![Data::Aaaa(Ipv6Addr::LOCALHOST)],
        (RecordType::Ptr | RecordType::Any, Special::Loopback) if apex => {
            vec![Data::Ptr("localhost".parse().expect("a constant that is a name"))]
        }
        (RecordType::Soa | RecordType::Any, _) if apex => vec![soa(zone)],
        (RecordType::Ns, _) if apex => vec![Data::Ns(zone.clone())],
        (_, Special::Empty | Special::NoData | Special::Localhost | Special::Loopback) => Vec::new(),
    }
}

fn record(name: &Name, data: Data) -> Record {
    Record { name: name.clone(), ttl: TTL, data }
}

fn soa(zone: &Name) -> Data {
    let nobody = "nobody.invalid".parse().expect("a constant that is a name");
    Data::Soa { mname: zone.clone(), rname: nobody, serial: 1, minimum: TTL }
}
