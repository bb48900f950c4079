//! What a machine has and what a task asks for.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{AddAssign, SubAssign},
};

/// Processor share in thousandths of a core: `Cpus(250)` is a quarter of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cpus(pub u64);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1000.0)
    }
}

/// Countable resources, of a machine or of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Share of the processors.
    pub cpus: Cpus,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
    /// Number of allocated ports (of 20000 to 31999). Fixed ports are not counted here.
    pub ports: u32,
}

impl Resources {
    /// Whether a request of `other` fits into what is left here.
    pub fn fits(&self, other: &Self) -> bool {
        other.cpus <= self.cpus && other.memory <= self.memory && other.disk <= self.disk && other.ports <= self.ports
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, o: Self) {
        self.cpus.0 = self.cpus.0.saturating_add(o.cpus.0);
        self.memory = self.memory.saturating_add(o.memory);
        self.disk = self.disk.saturating_add(o.disk);
        self.ports = self.ports.saturating_add(o.ports);
    }
}

impl SubAssign for Resources {
    /// Saturates at zero: a machine that was shrunk below its load has nothing free, not a debt.
    fn sub_assign(&mut self, o: Self) {
        self.cpus.0 = self.cpus.0.saturating_sub(o.cpus.0);
        self.memory = self.memory.saturating_sub(o.memory);
        self.disk = self.disk.saturating_sub(o.disk);
        self.ports = self.ports.saturating_sub(o.ports);
    }
}

#[cfg(test)]
mod tests;
