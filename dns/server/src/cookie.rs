//! DNS cookies (RFC 7873): proof that a client receives what is sent to its address.
//!
//! The server part is that of RFC 9018, so that all nodes, and other vendors' servers with the same secret, agree. What
//! is left out: who must have one. Without a valid cookie everything is answered, until a rate limit asks for one.

use crate::{CookieConfig, Date};
use siphasher::sip::SipHasher24;
use std::{net::IpAddr, sync::Arc};

/// Bytes of the client's part.
const CLIENT: usize = 8;
/// Bytes of our part.
const SERVER: usize = 16;
/// Longest server part of anybody (RFC 7873 section 4).
const SERVER_MAX: usize = 32;
/// Version 1 and three reserved bytes.
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// Seconds that a cookie is good for (RFC 9018 section 4.3).
const OLD_MAX: i32 = 3600;
/// Seconds that another node's clock may be ahead (RFC 9018 section 4.3).
const AHEAD_MAX: i32 = 300;

/// What a client sent: its own part and, from the second time on, ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCookie {
    client: [u8; CLIENT],
    /// Zeroed beyond its length.
    server: [u8; SERVER_MAX],
    server_len: u8,
}

impl ClientCookie {
    /// `None` for a length that no cookie has, which is a malformed query.
    pub(crate) fn read(option: &[u8]) -> Option<Self> {
        let (client, rest) = option.split_first_chunk::<CLIENT>()?;
        if !(rest.is_empty() || (8..=SERVER_MAX).contains(&rest.len())) {
            return None;
        }
        let mut server = [0; SERVER_MAX];
        server[..rest.len()].copy_from_slice(rest);
        Some(Self { client: *client, server, server_len: u8::try_from(rest.len()).ok()? })
    }

    /// Whether it brings a server part, valid or not.
    pub(crate) fn has_server_part(&self) -> bool {
        self.server_len > 0
    }

    fn server(&self) -> &[u8] {
        &self.server[..usize::from(self.server_len)]
    }
}

/// Makes and checks cookies. A cookie takes no memory here.
#[derive(Debug)]
pub(crate) struct Cookies {
    secret: [u8; 16],
    previous: Option<[u8; 16]>,
    date: Arc<dyn Date>,
}

impl Cookies {
    pub(crate) fn new(config: CookieConfig) -> Self {
        Self { secret: config.secret, previous: config.previous, date: config.date }
    }

    /// What the reply's option says: the client's part and a new server part. New each time, so it is never too old.
    pub(crate) fn renewed(&self, cookie: &ClientCookie, address: IpAddr) -> [u8; CLIENT + SERVER] {
        let server = server_part(&self.secret, &cookie.client, address, VERSION, self.now());
        let mut option = [0; CLIENT + SERVER];
        option[..CLIENT].copy_from_slice(&cookie.client);
        option[CLIENT..].copy_from_slice(&server);
        option
    }

    /// Whether this client got this cookie from us, or from a node with the same secret, within the hour.
    pub(crate) fn is_valid(&self, cookie: &ClientCookie, address: IpAddr) -> bool {
        let Ok(server) = <&[u8; SERVER]>::try_from(cookie.server()) else { return false };
        let made_at = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        // Serial number arithmetic (RFC 1982), as the field wraps in 2106.
        let age = self.now().wrapping_sub(made_at).cast_signed();
        if !(-AHEAD_MAX..=OLD_MAX).contains(&age) {
            return false;
        }
        // The reserved bytes are whatever the maker, who may know more than we, put there and hashed.
        let version = [server[0], server[1], server[2], server[3]];
        let expected = |secret: &[u8; 16]| server_part(secret, &cookie.client, address, version, made_at);
        let made_with = |secret: &[u8; 16]| same(&expected(secret), server);
        version[0] == VERSION[0] && (made_with(&self.secret) || self.previous.as_ref().is_some_and(made_with))
    }

    fn now(&self) -> u32 {
        // The low 32 bits are what the field holds.
        (self.date.unix_seconds() & u64::from(u32::MAX)) as u32
    }
}

fn server_part(
    secret: &[u8; 16],
    client: &[u8; CLIENT],
    address: IpAddr,
    version: [u8; 4],
    made_at: u32,
) -> [u8; SERVER] {
    let mut input = [0; CLIENT + 8 + 16];
    input[..8].copy_from_slice(client);
    input[8..12].copy_from_slice(&version);
    input[12..16].copy_from_slice(&made_at.to_be_bytes());
    let len = match address.to_canonical() {
        IpAddr::V4(a) => {
            input[16..20].copy_from_slice(&a.octets());
            20
        }
        IpAddr::V6(a) => {
            input[16..].copy_from_slice(&a.octets());
            32
        }
    };
    let hash = SipHasher24::new_with_key(secret).hash(&input[..len]);
    let mut server = [0; SERVER];
    server[..4].copy_from_slice(&version);
    server[4..8].copy_from_slice(&made_at.to_be_bytes());
    server[8..].copy_from_slice(&hash.to_le_bytes());
    server
}

/// Compares in a time that does not tell how much was right.
fn same(a: &[u8; SERVER], b: &[u8; SERVER]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
