//! How a node serves DNS beyond where it listens, as flags and the data folder say it.

use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};
use taffeta_dns_answer::{Alias, MAX_ALIASES, Name, Scheme};
use taffeta_dns_server::{InvalidNetwork, Network};

/// Time after the TTL in which a record gets around a ring of ten thousand nodes, and whoever took an address from an
/// answer comes to use it.
const SPREAD: Duration = Duration::from_secs(1);
/// Longest TTL: nobody wants a dead address for longer.
const TTL_MAX: u32 = 3600;
/// Most upstream resolvers of all names, and most networks: each is looked at for every name that is not the fabric's.
const LIST_MAX: usize = 32;

/// How a node serves DNS. What is `None` is taken from the data folder, where it was given before, or else the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsOptions {
    /// Further zones with the names of the fabric's; none by default.
    pub aliases: Option<Vec<DnsAlias>>,
    /// Whom to ask about other names; the machine's own resolvers by default.
    pub upstreams: Option<Vec<DnsUpstream>>,
    /// Networks that may transfer the zone, as `10.0.0.0/8`; none by default.
    pub transfer: Option<Vec<String>>,
    /// Most replies a second of one kind to one network outside this machine; 0: no limit.
    pub rate: Option<u32>,
    /// Seconds that answers may be cached, up to 3600; 1 by default. The same on all nodes.
    pub ttl: Option<u32>,
    /// Where DNS over TLS listens (RFC 7858).
    pub tls: Option<SocketAddr>,
    /// Where DNS over HTTPS listens (RFC 8484).
    pub https: Option<SocketAddr>,
    /// Where DNS over QUIC listens (RFC 9250).
    pub quic: Option<SocketAddr>,
    /// Certificate chain for these in PEM; the node's own of the fabric by default.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

/// A further zone, `ZONE` or `ZONE=SCHEME` with a scheme of `fabric`, `mesos`, `consul` or `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsAlias(Alias);

/// Resolvers for all names, or for those below a suffix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsUpstream {
    /// The suffix; `None`: for all names.
    pub suffix: Option<Name>,
    /// The resolver; `None` asks nobody, so that such names are refused.
    pub address: Option<SocketAddr>,
}

const SCHEMES: [(&str, Scheme); 4] = [
    ("fabric", Scheme::Fabric),
    ("mesos", Scheme::Mesos),
    ("consul", Scheme::Consul),
    ("kubernetes", Scheme::Kubernetes),
];

impl DnsOptions {
    /// These, and where they say nothing, those given before.
    pub(crate) fn or(self, before: Self) -> Self {
        // A key belongs to its certificate.
        let (certificate, key) = if self.certificate.is_some() || self.key.is_some() {
            (self.certificate, self.key)
        } else {
            (before.certificate, before.key)
        };
        Self {
            aliases: self.aliases.or(before.aliases),
            upstreams: self.upstreams.or(before.upstreams),
            transfer: self.transfer.or(before.transfer),
            rate: self.rate.or(before.rate),
            ttl: self.ttl.or(before.ttl),
            tls: self.tls.or(before.tls),
            https: self.https.or(before.https),
            quic: self.quic.or(before.quic),
            certificate,
            key,
        }
    }

    /// What is wrong with them, in words: which flag and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.ttl.is_some_and(|ttl| ttl > TTL_MAX) {
            return Err(("dns_ttl", format!("at most {TTL_MAX} seconds")));
        }
        for (flag, len, most) in [
            ("dns_alias", self.aliases.as_ref().map_or(0, Vec::len), MAX_ALIASES),
            ("dns_upstream", self.upstreams.as_ref().map_or(0, Vec::len), LIST_MAX),
            ("dns_transfer", self.transfer.as_ref().map_or(0, Vec::len), LIST_MAX),
        ] {
            if len > most {
                return Err((flag, format!("{len} are given; at most {most} are kept")));
            }
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(("dns_cert", "a certificate and its key are given together (--dns-cert and --dns-key)".into()));
        }
        self.networks().map(drop).map_err(|e| ("dns_transfer", e.to_string()))
    }

    /// The networks that may transfer the zone.
    pub(crate) fn networks(&self) -> Result<Vec<Network>, InvalidNetwork> {
        self.transfer.iter().flatten().map(|text| text.parse()).collect()
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.ttl.unwrap_or(1)
    }

    /// How long a task that is to stop goes on serving those who still have its address.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.ttl().into()) + SPREAD
    }

    pub(crate) fn zones(&self) -> Vec<Alias> {
        self.aliases.iter().flatten().map(|alias| alias.0.clone()).collect()
    }
}

impl FromStr for DnsAlias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, scheme) = text.split_once('=').unwrap_or((text, "fabric"));
        let domain: Name = zone.trim_end_matches('.').parse().map_err(|e| format!("`{zone}`: {e}"))?;
        if domain == Name::root() {
            return Err("the root is no zone of the fabric's: give a zone, as service.consul=consul".into());
        }
        let known = SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, scheme)| *scheme);
        let names = SCHEMES.map(|(name, _)| name).join(", ");
        let scheme = known.ok_or_else(|| format!("`{scheme}` is not a scheme of names: use one of {names}"))?;
        Ok(Self(Alias { domain, scheme }))
    }
}

impl From<DnsAlias> for String {
    fn from(DnsAlias(Alias { domain, scheme }): DnsAlias) -> Self {
        let word = SCHEMES.iter().find(|(_, known)| *known == scheme).map_or("fabric", |(word, _)| word);
        format!("{}={word}", domain.to_string().trim_end_matches('.'))
    }
}

impl FromStr for DnsUpstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (suffix, address) = match text.split_once('=') {
            Some((suffix, address)) => (Some(suffix), address),
            None => (None, text),
        };
        let suffix = suffix.map(|s| s.trim_end_matches('.').parse().map_err(|e| format!("`{s}`: {e}"))).transpose()?;
        let ip = || address.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        let address = match address {
            "none" => None,
            address => Some(address.parse().or_else(|_| ip()).map_err(|_| {
                format!("`{address}` is not a resolver: write IP, IP:PORT, SUFFIX=IP[:PORT] or none, as corp.example=10.0.0.2")
            })?),
        };
        Ok(Self { suffix, address })
    }
}

impl From<DnsUpstream> for String {
    fn from(DnsUpstream { suffix, address }: DnsUpstream) -> Self {
        let address = address.map_or_else(|| "none".into(), |address| address.to_string());
        match suffix {
            Some(suffix) => format!("{}={address}", suffix.to_string().trim_end_matches('.')),
            None => address,
        }
    }
}

impl TryFrom<String> for DnsAlias {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for DnsUpstream {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_zone_with_a_scheme() {
        let read = |text: &str| text.parse::<DnsAlias>().map(String::from);
        assert_eq!(read("svc.cluster.local=kubernetes").as_deref(), Ok("svc.cluster.local=kubernetes"));
        assert_eq!(read("old.internal.").as_deref(), Ok("old.internal=fabric"));
        assert!(read("consul=nomad").unwrap_err().contains("use one of fabric, mesos, consul, kubernetes"));
        assert!(read(".").is_err() && read("a..b").is_err());
    }

    #[test]
    fn an_upstream_is_an_address_for_a_suffix_or_for_all() {
        let read = |text: &str| text.parse::<DnsUpstream>().map(String::from);
        assert_eq!(read("10.0.0.2").as_deref(), Ok("10.0.0.2:53"));
        assert_eq!(read("corp.example=[::1]:5353").as_deref(), Ok("corp.example=[::1]:5353"));
        assert_eq!(read("none").as_deref(), Ok("none"));
        assert!(read("corp.example").is_err() && read("a..b=10.0.0.2").is_err());
    }

    #[test]
    fn what_is_given_now_comes_before_what_was_given() {
        let before =
            DnsOptions { ttl: Some(5), certificate: Some("a".into()), key: Some("b".into()), ..Default::default() };
        let now = DnsOptions { rate: Some(7), certificate: Some("c".into()), ..Default::default() };
        let both = now.or(before);
        assert_eq!((both.ttl, both.rate, both.certificate.as_deref()), (Some(5), Some(7), Some("c".as_ref())));
        assert_eq!(both.check().unwrap_err().0, "dns_cert");
        assert_eq!(both.drain(), Duration::from_secs(6));
    }
}
