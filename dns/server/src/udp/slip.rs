//! A reply that is cut short by the rate limit.

use super::batch::REPLY_MAX;
use crate::{
    Responder,
    query::{HEADER, question_end},
};
use std::net::IpAddr;
use taffeta_dns_answer::DATAGRAM_MAX;

const BARE_OPT: usize = 11;
const TYPE_OPT: u8 = 41;

/// Makes a reply no longer than its query: a client with a cookie is asked for a good one, another one to come by TCP.
/// Gives the length; `None` if the reply has no question to repeat.
pub(crate) fn slip(
    responder: &Responder,
    query: &[u8],
    client: IpAddr,
    reply_len: usize,
    out: &mut [u8; REPLY_MAX],
) -> Option<usize> {
    if let Some(demand) = responder.demand_cookie(query, client) {
        out.get_mut(..demand.len())?.copy_from_slice(&demand);
        return Some(demand.len());
    }
    let end = question_end(&out[..reply_len]).filter(|_| out[4..6] == [0, 1])?;
    // Cut short, and nothing but the question.
    out[2] |= 0x02;
    out[6..HEADER].fill(0);
    let Some(flags) = opt_flags(query) else { return Some(end) };
    let [high, low] = DATAGRAM_MAX.to_be_bytes();
    let opt = [0, 0, TYPE_OPT, high, low, 0, 0, flags & 0x80, 0, 0, 0];
    out.get_mut(end..end + BARE_OPT)?.copy_from_slice(&opt);
    out[11] = 1;
    Some(end + BARE_OPT)
}

/// The upper flags of the OPT record, if that is what follows the question.
fn opt_flags(query: &[u8]) -> Option<u8> {
    let opt = query.get(question_end(query)?..)?;
    (opt.starts_with(&[0, 0, TYPE_OPT]) && query[6..10] == [0; 4]).then(|| opt.get(7).copied())?
}
