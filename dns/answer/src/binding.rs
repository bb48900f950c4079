//! Service bindings (RFC 9460): which names of ports say what is spoken there.

use crate::{Name, ServiceBinding, held::Held};

/// Names of ports and the protocols that they stand for, as ALPN ids of the registry of IANA. A name says that TLS or
/// QUIC is spoken, so `http` is not among them.
const PROTOCOLS: [(&str, &[&str]); 6] = [
    ("https", &["h2", "http/1.1"]),
    ("h2", &["h2"]),
    ("grpc", &["h2"]),
    ("h3", &["h3"]),
    ("dot", &["dot"]),
    ("doq", &["doq"]),
];

const HTTPS: &[&str] = &["h2", "http/1.1"];
const HTTPS_AND_H3: &[&str] = &["h3", "h2", "http/1.1"];
const H3: &[&str] = &["h3"];

/// What the ports `https` and `h3` of an instance say at its names: one record if both have the same number. Without
/// `https` a client is told not to expect HTTP/1.1, the default of the type (RFC 9460 section 9).
pub(crate) fn https_bindings(held: &Held, own: &Name) -> impl Iterator<Item = ServiceBinding> {
    let of =
        |port, alpn, no_default_alpn| ServiceBinding { priority: 1, target: own.clone(), port, alpn, no_default_alpn };
    let (https, h3) = (held.port("https"), held.port("h3"));
    let both = https.filter(|_| https == h3).map(|port| of(port, HTTPS_AND_H3, false));
    let apart = both.is_none();
    let first = https.filter(|_| apart).map(|port| of(port, HTTPS, false));
    let second = h3.filter(|_| apart).map(|port| of(port, H3, true));
    both.into_iter().chain(first).chain(second)
}

/// Whether the name of a port says what is spoken there.
pub(crate) fn is_known(port: &str) -> bool {
    PROTOCOLS.iter().any(|(name, _)| *name == port)
}

/// What the name of a port says at the port's own name.
pub(crate) fn svcb_binding(port: &str, number: u16, own: &Name) -> Option<ServiceBinding> {
    let (_, alpn) = PROTOCOLS.iter().find(|(name, _)| *name == port)?;
    Some(ServiceBinding { priority: 1, target: own.clone(), port: number, alpn, no_default_alpn: false })
}
