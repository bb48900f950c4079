//! What the operator decides about the answers.

use crate::Network;
use std::{fmt::Debug, sync::Arc, time::SystemTime};

/// What a [`crate::Responder`] does beyond plain answers. The default: no cookies, no name, nobody may transfer.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    /// DNS cookies (RFC 7873, RFC 9018). `None`: the option is ignored.
    pub cookies: Option<CookieConfig>,
    /// The name given to a client that asks which server this is (NSID, RFC 5001, and `id.server CH TXT`, RFC 4892); as a
    /// rule the node's. At most [`NSID_MAX`] bytes are given. `None`: the option is ignored.
    pub nsid: Option<String>,
    /// Who may have the whole zone (AXFR, RFC 5936). Empty: nobody.
    pub transfer: Vec<Network>,
}

/// Longest name that is given as NSID, so that header, question and OPT fit into the 512 bytes that everybody takes.
pub const NSID_MAX: usize = 63;

/// How server cookies are made.
#[derive(Clone, Debug)]
pub struct CookieConfig {
    /// Secret of at least 128 bits of entropy. All nodes that a client may take for one server should have the same.
    pub secret: [u8; 16],
    /// The secret before this one, whose cookies are still taken while clients change over (RFC 9018 section 5).
    pub previous: Option<[u8; 16]>,
    /// Where the date comes from: cookies are good for an hour.
    pub date: Arc<dyn Date>,
}

impl CookieConfig {
    /// With this secret and the system's date.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret, previous: None, date: Arc::new(SystemDate) }
    }
}

/// The date, as a seam: a simulator gives its own.
pub trait Date: Debug + Send + Sync + 'static {
    /// Seconds since 1970.
    fn unix_seconds(&self) -> u64;
}

/// The machine's date.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDate;

impl Date for SystemDate {
    #[expect(clippy::disallowed_methods, reason = "the real date behind the seam; a simulator gives its own")]
    fn unix_seconds(&self) -> u64 {
        // Before 1970 the clock is wrong anyway, and cookies of zero do no harm.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }
}
