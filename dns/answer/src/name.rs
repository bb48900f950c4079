//! Domain names in wire form, compared without regard to case.

use crate::reverse::reverse_address;
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    str::FromStr,
    sync::Arc,
};

/// Longest label and longest name, RFC 1035 section 2.3.4; the name counts length bytes and the root's zero.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;

/// A domain name. Keeps the case it was written in; equality, order and hash ignore ASCII case (RFC 4343).
/// Cheap to clone.
#[derive(Clone)]
pub struct Name {
    /// Length-prefixed labels without the root's zero byte.
    wire: Arc<[u8]>,
}

/// Why something is not a domain name. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidDnsName {
    /// A label is empty.
    EmptyLabel,
    /// A label is longer than 63 bytes.
    LabelTooLong,
    /// The name is longer than 255 bytes.
    NameTooLong,
    /// A backslash is not followed by a character or by three digits up to 255.
    BadEscape,
}

impl fmt::Display for InvalidDnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "not a domain name: it has an empty label",
            Self::LabelTooLong => "not a domain name: a label is longer than 63 bytes",
            Self::NameTooLong => "not a domain name: it is longer than 255 bytes",
            Self::BadEscape => "not a domain name: write `\\.` or `\\ddd` after a backslash",
        })
    }
}

impl std::error::Error for InvalidDnsName {}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self { wire: Arc::from(&[][..]) }
    }

    /// A name of these labels, the leftmost first.
    pub fn from_labels<L: AsRef<[u8]>>(labels: impl IntoIterator<Item = L>) -> Result<Self, InvalidDnsName> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            push_label(&mut wire, label.as_ref())?;
        }
        Ok(Self { wire: wire.into() })
    }

    /// `label` in front of this name.
    pub fn child(&self, label: impl AsRef<[u8]>) -> Result<Self, InvalidDnsName> {
        self.below([label])
    }

    /// These labels in front of this name, the leftmost first.
    pub(crate) fn below<L: AsRef<[u8]>>(&self, labels: impl IntoIterator<Item = L>) -> Result<Self, InvalidDnsName> {
        let mut wire = Vec::with_capacity(64 + self.wire.len());
        for label in labels {
            push_label(&mut wire, label.as_ref())?;
        }
        wire.extend_from_slice(&self.wire);
        if wire.len() >= MAX_NAME { Err(InvalidDnsName::NameTooLong) } else { Ok(Self { wire: wire.into() }) }
    }

    /// The name under which an address is looked up in reverse (RFC 1035 section 3.5, RFC 3596 section 2.5).
    pub fn reverse_of(address: IpAddr) -> Self {
        let labels: Vec<String> = match address {
            IpAddr::V4(v4) => v4.octets().iter().rev().map(u8::to_string).collect(),
            IpAddr::V6(v6) => {
                v6.octets().iter().rev().flat_map(|b| [b & 15, b >> 4]).map(|n| format!("{n:x}")).collect()
            }
        };
        let zone = if address.is_ipv4() { "in-addr" } else { "ip6" };
        let labels = labels.iter().map(String::as_str).chain([zone, "arpa"]);
        Self::from_labels(labels).expect("a reverse name is at most 73 bytes of one- to seven-byte labels")
    }

    /// The address that this name is the reverse of.
    pub fn reverse_address(&self) -> Option<IpAddr> {
        reverse_address(&self.wire)
    }

    /// Length-prefixed labels without the root's zero byte.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Its labels, the leftmost first, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.wire)
    }

    /// Whether this is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.len_below(zone).is_some()
    }

    /// Its labels below `zone`, the leftmost first; `None` outside.
    pub(crate) fn strip(&self, zone: &Self) -> Option<Vec<&[u8]>> {
        let mut below = &self.wire[..self.len_below(zone)?];
        // Names have four labels as a rule.
        let mut labels = Vec::with_capacity(4);
        while let Some((&len, rest)) = below.split_first() {
            let (label, rest) = rest.split_at(usize::from(len));
            labels.push(label);
            below = rest;
        }
        Some(labels)
    }

    /// How many bytes are in front of `zone`; `None` outside. The same bytes may be the end of a label.
    fn len_below(&self, zone: &Self) -> Option<usize> {
        let below = self.wire.len().checked_sub(zone.wire.len())?;
        if !self.wire[below..].eq_ignore_ascii_case(&zone.wire) {
            return None;
        }
        let mut at = 0;
        while at < below {
            at += 1 + usize::from(self.wire[at]);
        }
        (at == below).then_some(below)
    }

    #[cfg(test)]
    /// The name without its leftmost label; `None` for the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let len = usize::from(*self.wire.first()?);
        Some(Self { wire: self.wire[1 + len..].into() })
    }

    /// Whether labels of these lengths in front of this name make a name.
    pub(crate) fn has_room_for<const N: usize>(&self, labels: [usize; N]) -> bool {
        let wire = self.wire.len() + labels.iter().map(|l| l + 1).sum::<usize>();
        wire < MAX_NAME && labels.iter().all(|l| (1..=MAX_LABEL).contains(l))
    }

    /// The same name in lower case. Length bytes are at most 63 and so are no letters.
    pub(crate) fn to_lowercase(&self) -> Self {
        Self { wire: self.wire.to_ascii_lowercase().into() }
    }
}

/// The labels of a name from its length-prefixed form.
pub(crate) fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, tail) = wire.split_first()?;
        let (label, tail) = tail.split_at(usize::from(len));
        wire = tail;
        Some(label)
    })
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), InvalidDnsName> {
    if label.is_empty() {
        return Err(InvalidDnsName::EmptyLabel);
    }
    let len = u8::try_from(label.len()).map_err(|_| InvalidDnsName::LabelTooLong)?;
    if label.len() > MAX_LABEL {
        return Err(InvalidDnsName::LabelTooLong);
    }
    wire.push(len);
    wire.extend_from_slice(label);
    if wire.len() >= MAX_NAME { Err(InvalidDnsName::NameTooLong) } else { Ok(()) }
}

impl FromStr for Name {
    type Err = InvalidDnsName;

    /// Reads `web.shop.fabric.internal`, with or without the last dot; `\.` and `\ddd` as in RFC 4343 section 2.1.
    fn from_str(text: &str) -> Result<Self, InvalidDnsName> {
        if text == "." || text.is_empty() {
            return Ok(Self::root());
        }
        let mut labels = vec![Vec::new()];
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => labels.push(Vec::new()),
                b'\\' => labels.last_mut().expect("never empty").push(unescape(&mut bytes)?),
                plain => labels.last_mut().expect("never empty").push(plain),
            }
        }
        if labels.last().is_some_and(Vec::is_empty) {
            labels.pop();
        }
        Self::from_labels(labels)
    }
}

fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, InvalidDnsName> {
    let first = bytes.next().ok_or(InvalidDnsName::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(InvalidDnsName::BadEscape)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| InvalidDnsName::BadEscape)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wire.is_empty() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.wire.iter().map(u8::to_ascii_lowercase).cmp(other.wire.iter().map(u8::to_ascii_lowercase))
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.wire.iter() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}
