//! A local volume: data that stays on one machine, and keeps the task there.

use crate::{AbsolutePath, Job, JobKind, Resources, VolumeName};
use serde::{Deserialize, Serialize};

/// What each instance of a job asks for: a folder of its own that outlives its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Names the folder for the task. Another name is another volume.
    pub name: VolumeName,
    /// Bytes of its machine's disk that are counted for it; at least 1.
    pub size: u64,
    /// Where the task finds it besides its own folder.
    pub at: Option<AbsolutePath>,
}

impl Job {
    /// What an instance takes of its machine, its volume included.
    pub fn demand(&self) -> Resources {
        let mut demand = self.resources;
        demand.disk = demand.disk.saturating_add(self.volume.as_ref().map_or(0, |volume| volume.size));
        demand
    }

    pub(super) fn check_volume(&self) -> Result<(), (&'static str, String)> {
        let Some(Volume { name, size, at: _ }) = &self.volume else { return Ok(()) };
        let bad = |message: String| Err(("volume", message));
        if self.kind == JobKind::Daemon {
            return bad(
                "a daemon has no volume: its instances belong to machines, in whose folders they may keep data".into(),
            );
        }
        if *size == 0 {
            return bad("a volume of 0 bytes; expected a size, as \"1GiB\"".into());
        }
        if self.update.max_surge > 0 || self.update.blue_green {
            return bad(
                "an instance beside the others would have an empty volume: leave `max_surge` and blue-green out of `update`"
                    .into(),
            );
        }
        if self.files.iter().any(|file| file == name.as_str()) {
            return bad(format!("`{name}` is the name of a file in its folder, too"));
        }
        Ok(())
    }
}
