//! From names of the reverse tree to addresses.

use crate::name::labels;
use std::net::IpAddr;

/// The address that a name is the reverse of (RFC 1035 section 3.5, RFC 3596 section 2.5); the name as length-prefixed
/// labels without the root's zero byte.
pub(crate) fn reverse_address(wire: &[u8]) -> Option<IpAddr> {
    if ends_with(wire, b"\x07in-addr\x04arpa") {
        let (mut octets, mut labels) = ([0; 4], labels(wire));
        for octet in octets.iter_mut().rev() {
            *octet = decimal(labels.next()?)?;
        }
        return is(labels, ["in-addr", "arpa"]).then(|| octets.into());
    }
    if ends_with(wire, b"\x03ip6\x04arpa") {
        let (mut octets, mut labels) = ([0; 16], labels(wire));
        for octet in octets.iter_mut().rev() {
            *octet = nibble(labels.next()?)? | nibble(labels.next()?)? << 4;
        }
        return is(labels, ["ip6", "arpa"]).then(|| octets.into());
    }
    None
}

fn ends_with(wire: &[u8], end: &[u8]) -> bool {
    wire.len().checked_sub(end.len()).is_some_and(|at| wire[at..].eq_ignore_ascii_case(end))
}

fn is<'a>(mut labels: impl Iterator<Item = &'a [u8]>, texts: [&str; 2]) -> bool {
    let same = texts.iter().all(|text| labels.next().is_some_and(|l| l.eq_ignore_ascii_case(text.as_bytes())));
    same && labels.next().is_none()
}

/// A number from 0 to 255 without leading zeros, so that one address has one reverse name.
fn decimal(label: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(label).ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else { return None };
    char::from(*digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}
