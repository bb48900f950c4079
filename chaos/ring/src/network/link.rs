//! What a node itself takes for a packet: processor time, and a place on its link.

use taffeta_model::Millis;

/// One packet of the ring, sealed or opened, with its system call: measured at 7 us for both ends without a runtime.
pub(super) const PACKET_US: u64 = 10;
/// A gigabit a second.
const BYTES_PER_US: u64 = 125;

/// When each part of a node is free again, in microseconds of virtual time. Queues have no bound.
#[derive(Clone, Copy, Default)]
pub(super) struct Link {
    cpu: u64,
    up: u64,
}

impl Link {
    /// Uses the processor from now on, or once it is free.
    pub(super) fn spend(&mut self, now: Millis, us: u64) {
        self.cpu = self.cpu.max(now.0 * 1000) + us;
    }

    /// When the processor is free.
    pub(super) fn free_at(&self) -> Millis {
        whole(self.cpu)
    }

    /// Makes packets of so many bytes and puts them on the wire; gives when the last byte has left.
    pub(super) fn send(&mut self, now: Millis, packets: u64, bytes: u64) -> Millis {
        self.spend(now, PACKET_US * packets);
        self.up = self.up.max(self.cpu) + bytes / BYTES_PER_US;
        whole(self.up)
    }
}

/// How long so many bytes take on a link, in microseconds.
pub(super) fn wire_us(bytes: u64) -> u64 {
    bytes / BYTES_PER_US
}

/// Parts of a millisecond add up, but alone do not delay anything.
fn whole(us: u64) -> Millis {
    Millis(us / 1000)
}
