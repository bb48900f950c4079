//! What the operator decides about datagrams.

use std::{net::IpAddr, thread::available_parallelism};

/// Most threads: from there on the network card is the limit, and tasks want processors too.
const THREADS_MAX: usize = 8;

/// How datagrams are served.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// Threads, each with a socket; 0: one for each processor, up to 8.
    pub threads: usize,
    /// Replies of one kind (data, no data, no such name, error) that one network (/24 of IPv4, /56 of IPv6) gets in a
    /// second; 1000. Of those in excess half are cut short, which makes an honest client come by TCP, and half are not
    /// sent. Clients of this machine have no limit, nor have those that prove their address with a DNS cookie. 0: no
    /// limit.
    pub replies_per_second: u32,
    /// Addresses of this machine, whose clients have no limit; loopback need not be among them.
    pub own_addresses: Vec<IpAddr>,
    /// Tests have loopback alone to play a network with.
    #[cfg(test)]
    pub(crate) loopback_is_far: bool,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            replies_per_second: 1000,
            own_addresses: Vec::new(),
            #[cfg(test)]
            loopback_is_far: false,
        }
    }
}

impl UdpConfig {
    pub(crate) fn thread_count(&self) -> usize {
        match self.threads {
            0 => available_parallelism().map_or(1, Into::into).min(THREADS_MAX),
            threads => threads,
        }
    }

    /// Whether a client is on this machine, where nobody forges addresses of others.
    pub(crate) fn is_here(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        #[cfg(test)]
        if self.loopback_is_far {
            return false;
        }
        client.is_loopback() || self.own_addresses.iter().any(|own| own.to_canonical() == client)
    }
}
