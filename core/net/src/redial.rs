//! When a connection is replaced although it works: the certificates shown on it end, and those in use are newer.

use crate::{link::Link, net::Net, pool::Way};
use std::time::Duration;
use taffeta_model::NodeId;

/// A certificate is renewed at two thirds of its life. Half of what is left then is for the renewal, retries included;
/// after that the connections that show the old one are replaced.
const LAST_PART: u32 = 6;
/// The two ends of a connection do not replace it at the same moment: one is later by this part of a life.
const BETWEEN_ENDS: u32 = 24;
/// A connection is not replaced sooner than after this part of a life, since the new one may show an old certificate too.
const PAUSE: u32 = 48;
/// And not later than after this, however long lives are.
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Net {
    /// Whether this node now shows a later certificate than it has shown on the connection.
    pub(crate) fn shows_older(&self, link: &Link) -> bool {
        link.terms.is_some_and(|terms| terms.own_ends < self.inner.credentials.ends())
    }

    /// Whether a certificate has ended that was shown on the connection, and a new connection may do better.
    pub(crate) fn is_over(&self, link: &Link) -> bool {
        self.remains(link).is_some_and(|remains| remains.is_zero()) && self.may_redial(link)
    }

    /// Dials in the background if a certificate is about to end that was shown on the connection: it is used on until the
    /// new one is there.
    pub(crate) fn redial_in_time(&self, node: NodeId, link: &Link) {
        let life = self.inner.lives.certificate;
        let later = if self.inner.credentials.id() < node { Duration::ZERO } else { life / BETWEEN_ENDS };
        let due = self.remains(link).is_some_and(|remains| remains + later < life / LAST_PART);
        if !due || !self.may_redial(link) {
            return;
        }
        let way = self.pool().way_anew(node);
        match way {
            Way::Dial(address, report) => self.spawn_dial(node, address, report),
            Way::Open(_) | Way::Wait(_) | Way::Unknown => {}
        }
    }

    /// How long both certificates are good for; `None` for a stranger.
    fn remains(&self, link: &Link) -> Option<Duration> {
        let terms = link.terms?;
        let date = self.inner.means.date();
        Some(Duration::from_millis(terms.peer.ends.min(terms.own_ends).0.saturating_sub(date.0)))
    }

    fn may_redial(&self, link: &Link) -> bool {
        link.made.elapsed() >= (self.inner.lives.certificate / PAUSE).min(PAUSE_MAX)
    }
}
