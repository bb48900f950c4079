//! How much of a task's output is kept.

use crate::Job;
use serde::{Deserialize, Serialize};

/// Smallest and largest file of an output: less is turned over with every few screens, more takes minutes to fetch.
const SIZE: (u64, u64) = (64 << 10, 1 << 30);

/// Fewest and most files of an output: with one, turning over would throw all away.
const FILES: (u8, u8) = (2, 32);

/// The notes of when what was written take this part of the output itself, at most.
const TIMES_PART: u64 = 4;

/// How much is kept of each of a task's two outputs. The oldest file goes when there is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBounds {
    /// Bytes of one file, 64 KiB to 1 GiB.
    pub size: u64,
    /// Number of files, 2 to 32.
    pub files: u8,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self { size: 8 << 20, files: 4 }
    }
}

impl LogBounds {
    /// These, or the nearest that may be.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { size: self.size.clamp(SIZE.0, SIZE.1), files: self.files.clamp(FILES.0, FILES.1) }
    }

    /// Most bytes of the notes of one file: when what in it was written.
    pub fn times_max(self) -> u64 {
        self.size / TIMES_PART
    }

    /// Most bytes of disk that both outputs of one run take.
    pub fn disk_max(self) -> u64 {
        2 * u64::from(self.files) * (self.size + self.times_max())
    }
}

impl Job {
    pub(super) fn check_logs(&self) -> Result<(), (&'static str, String)> {
        let LogBounds { size, files } = self.logs;
        if !(SIZE.0..=SIZE.1).contains(&size) {
            return Err(("logs.size", format!("{size} bytes; expected a size from 64KiB to 1GiB")));
        }
        if !(FILES.0..=FILES.1).contains(&files) {
            return Err(("logs.files", format!("{files}; expected a number of files from {} to {}", FILES.0, FILES.1)));
        }
        Ok(())
    }
}
