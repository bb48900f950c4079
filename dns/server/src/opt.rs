//! The OPT pseudo-record (RFC 6891): what of the client's options counts, and what ours says.
//!
//! All options that are not named here are ignored, client subnet (RFC 7871) among them: what is near to a client is
//! known from its address.

use crate::cookie::ClientCookie;
use hickory_proto::op::{Edns, ResponseCode};
use std::sync::Arc;
use taffeta_dns_answer::DATAGRAM_MAX;

const NSID: u16 = 3;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
const ERROR: u16 = 15;

/// Bytes of an OPT without options: root name, type, class, TTL, length.
const FIXED: usize = 11;
/// Bytes of an option's code and length.
const OPTION: usize = 4;
/// Replies are padded to multiples of this (RFC 8467 section 4.1).
const BLOCK: usize = 468;

/// Extended DNS errors (RFC 8914) that we send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ede {
    Other = 0,
    StaleAnswer = 3,
    NotReady = 14,
    Prohibited = 18,
    NotAuthoritative = 20,
    NoReachableAuthority = 22,
    NetworkError = 23,
}

/// What the client's OPT record says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientEdns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) cookie: Option<Sent<ClientCookie>>,
    pub(crate) asks_nsid: bool,
    /// An option for streams (RFC 7828); a client has nothing to say in it.
    pub(crate) keepalive: Option<Sent<()>>,
    pub(crate) pads: bool,
}

/// An option's content, or that it cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent<T> {
    WellFormed(T),
    Malformed,
}

impl ClientEdns {
    pub(crate) fn read(edns: &Edns) -> Self {
        let mut read = Self {
            size: edns.max_payload(),
            version: edns.version(),
            dnssec_ok: edns.flags().dnssec_ok,
            cookie: None,
            asks_nsid: false,
            keepalive: None,
            pads: false,
        };
        for (code, option) in edns.options().as_ref() {
            let code = u16::from(*code);
            read.asks_nsid |= code == NSID;
            read.pads |= code == PADDING;
            // Only the first cookie counts (RFC 7873 section 5.2).
            if code == COOKIE && read.cookie.is_none() {
                let bytes: Vec<u8> = option.try_into().unwrap_or_default();
                read.cookie = Some(ClientCookie::read(&bytes).map_or(Sent::Malformed, Sent::WellFormed));
            }
            if code == KEEPALIVE {
                read.keepalive = Some(if option.is_empty() { Sent::WellFormed(()) } else { Sent::Malformed });
            }
        }
        read
    }

    pub(crate) fn cookie(&self) -> Option<&ClientCookie> {
        match &self.cookie {
            Some(Sent::WellFormed(cookie)) => Some(cookie),
            Some(Sent::Malformed) | None => None,
        }
    }
}

/// The options of a reply, but for an error, which depends on the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplyOptions {
    pub(crate) cookie: Option<[u8; 24]>,
    pub(crate) nsid: Option<Arc<[u8]>>,
    /// How long a stream may idle, in units of 100 ms.
    pub(crate) keepalive: Option<u16>,
    pub(crate) pad: bool,
}

/// The OPT of a reply, without padding.
pub(crate) fn opt(
    code: ResponseCode,
    dnssec_ok: bool,
    options: &ReplyOptions,
    error: Option<(Ede, &'static str)>,
) -> Vec<u8> {
    let mut opt = Vec::with_capacity(FIXED + 64);
    opt.extend_from_slice(&[0, 0, 41]);
    opt.extend_from_slice(&DATAGRAM_MAX.to_be_bytes());
    // Upper bits of the code, version 0, flags with DO as it came.
    opt.extend_from_slice(&[code.high(), 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    if let Some((error, text)) = error {
        put(&mut opt, ERROR, &[&(error as u16).to_be_bytes(), text.as_bytes()]);
    }
    if let Some(cookie) = &options.cookie {
        put(&mut opt, COOKIE, &[cookie]);
    }
    if let Some(nsid) = &options.nsid {
        put(&mut opt, NSID, &[nsid]);
    }
    if let Some(timeout) = options.keepalive {
        put(&mut opt, KEEPALIVE, &[&timeout.to_be_bytes()]);
    }
    let len = opt.len() - FIXED;
    set_length(&mut opt, 0, len);
    opt
}

/// Appends an OPT to a packet, padded if that is wanted and there is room, and counts it.
pub(crate) fn append_opt(packet: &mut Vec<u8>, opt: &[u8], pad: bool, limit: usize) {
    let at = packet.len();
    packet.extend_from_slice(opt);
    let unpadded = packet.len() + OPTION;
    if pad && unpadded <= limit {
        let padding = unpadded.next_multiple_of(BLOCK).min(limit) - unpadded;
        packet.extend_from_slice(&PADDING.to_be_bytes());
        // Both lengths are below 64 KiB, as the packet is.
        packet.extend_from_slice(&(padding as u16).to_be_bytes());
        packet.resize(unpadded + padding, 0);
    }
    let options = packet.len() - at - FIXED;
    set_length(packet, at, options);
    let count = u16::from_be_bytes([packet[10], packet[11]]).saturating_add(1);
    packet[10..12].copy_from_slice(&count.to_be_bytes());
}

fn put(opt: &mut Vec<u8>, code: u16, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    opt.extend_from_slice(&code.to_be_bytes());
    // Our options are short.
    opt.extend_from_slice(&(len as u16).to_be_bytes());
    parts.iter().for_each(|p| opt.extend_from_slice(p));
}

fn set_length(bytes: &mut [u8], opt_at: usize, len: usize) {
    bytes[opt_at + 9..opt_at + FIXED].copy_from_slice(&(len as u16).to_be_bytes());
}
