//! What the counters of a group say about the end of its task. Read before the group goes, and never guessed from a
//! status or a signal: 137 has many causes.

use crate::{
    group::Groups,
    usage::{field, number},
};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::read,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// Bytes that the kernel asks of a group at a time (`MEMCG_CHARGE_BATCH`): so far below its limit the most may stay that a
/// group has used.
const CHARGE_MAX: u64 = 64 * 4096;

/// What there was no more memory in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exhausted {
    /// The task's own group: its limit was reached.
    Limit,
    /// A group that the task has made inside its own.
    Inner,
    /// The machine, or a group above the task's.
    Machine,
}

/// What the counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Set if the kernel has killed a process of the task for memory.
    pub(crate) exhausted: Option<Exhausted>,
    /// Its limit of memory in bytes.
    pub(crate) memory_max: Option<u64>,
    /// Forks that were refused at its limit of processes.
    pub(crate) forks_refused: u64,
    /// That limit.
    pub(crate) pids_max: Option<u64>,
}

impl Ending {
    /// `told` is what [`OutOfMemory`] has heard; on v2 the counters alone say it.
    pub(crate) fn read(groups: &Groups, told: bool) -> Self {
        let v2 = groups.unified();
        let (exhausted, memory_max) = match (groups.v1("memory"), v2) {
            (Some(v1), _) => (exhausted_v1(v1, told), number(&v1.join("memory.limit_in_bytes"))),
            (None, Some(v2)) => (exhausted_v2(v2), number(&v2.join("memory.max"))),
            (None, None) => (None, None),
        };
        let pids = groups.v1("pids").or(v2);
        let forks_refused = pids.and_then(|pids| field(&pids.join("pids.events"), "max")).unwrap_or_default();
        let pids_max = pids.and_then(|pids| number(&pids.join("pids.max")));
        Self { exhausted, memory_max, forks_refused, pids_max }
    }
}

/// How many processes of the group the kernel has killed for memory; 0 where that is not counted.
pub(crate) fn oom_kills(groups: &Groups) -> u64 {
    let file = match (groups.v1("memory"), groups.unified()) {
        (Some(v1), _) => v1.join("memory.oom_control"),
        (None, Some(v2)) => v2.join("memory.events"),
        (None, None) => return 0,
    };
    field(&file, "oom_kill").unwrap_or_default()
}

/// v1 does not count how often a limit ended in a kill. Its event comes when a limit of the group, or of one above, is
/// reached for good; the own one if the task has ever used all of it. (`memory.failcnt` stays 0 on some kernels.)
fn exhausted_v1(group: &Path, told: bool) -> Option<Exhausted> {
    field(&group.join("memory.oom_control"), "oom_kill").filter(|kills| *kills > 0)?;
    let bytes = |name: &str| number(&group.join(name));
    let reached = |most: &str, limit: &str| Some(bytes(most)?.saturating_add(CHARGE_MAX) >= bytes(limit)?);
    let own = reached("memory.max_usage_in_bytes", "memory.limit_in_bytes") == Some(true)
        || reached("memory.memsw.max_usage_in_bytes", "memory.memsw.limit_in_bytes") == Some(true);
    Some(if told && own { Exhausted::Limit } else { Exhausted::Machine })
}

/// `oom` counts where the limit is that was reached, `oom_kill` where the process was that died for it; both are added up
/// in the groups above.
fn exhausted_v2(group: &Path) -> Option<Exhausted> {
    let all = group.join("memory.events");
    field(&all, "oom_kill").filter(|kills| *kills > 0)?;
    let count = |file: &Path| field(file, "oom").unwrap_or_default();
    let own = group.join("memory.events.local");
    let own = if own.exists() { count(&own) } else { count(&all) };
    Some(match (own, count(&all)) {
        (0, 0) => Exhausted::Machine,
        (0, _) => Exhausted::Inner,
        (_, _) => Exhausted::Limit,
    })
}

/// The kernel's word that a group has reached its memory limit; v1 only. On v2 the kernel itself kills the whole group.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    event: OwnedFd,
    heard: bool,
}

impl OutOfMemory {
    pub(crate) fn watch(groups: &Groups) -> Option<Self> {
        let folder = groups.v1("memory")?;
        let control = File::open(folder.join("memory.oom_control")).ok()?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        fs::write(folder.join("cgroup.event_control"), line).ok()?;
        Some(Self { event, heard: false })
    }

    /// Whether it came since this was asked last.
    pub(crate) fn news(&mut self) -> bool {
        let mut count = [0u8; 8];
        let news = read(&self.event, &mut count).is_ok_and(|n| n > 0);
        self.heard |= news;
        news
    }

    /// Whether it ever came.
    pub(crate) fn heard(&mut self) -> bool {
        self.news() || self.heard
    }
}

impl AsFd for OutOfMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    #[test]
    fn on_v2_the_limit_is_blamed_that_was_reached() {
        let of = |events: &str, local: &str| {
            let folder =
                group(&[("memory.events", events), ("memory.events.local", local), ("memory.max", "67108864\n")]);
            let groups = Groups([("unified".to_owned(), folder.path().to_path_buf())].into());
            Ending::read(&groups, false).exhausted
        };
        assert_eq!(of("max 9\noom 0\noom_kill 0\n", "oom 0\n"), None, "the limit was felt, and nobody died");
        assert_eq!(of("oom 1\noom_kill 2\n", "oom 1\noom_kill 2\n"), Some(Exhausted::Limit));
        assert_eq!(of("oom 1\noom_kill 1\n", "oom 0\noom_kill 0\n"), Some(Exhausted::Inner));
        assert_eq!(of("oom 0\noom_kill 1\n", "oom 0\noom_kill 1\n"), Some(Exhausted::Machine));
    }

    #[test]
    fn on_v1_a_kill_without_a_word_about_the_limit_is_the_machines() {
        let of = |kills: &str, most: &str, told| {
            let limit = ("memory.limit_in_bytes", "67108864\n");
            let folder = group(&[("memory.oom_control", kills), ("memory.max_usage_in_bytes", most), limit]);
            let groups = Groups([("memory".to_owned(), folder.path().to_path_buf())].into());
            Ending::read(&groups, told).exhausted
        };
        assert_eq!(of("under_oom 0\noom_kill 0\n", "67108864", true), None, "there was room after all");
        assert_eq!(of("under_oom 0\noom_kill 1\n", "67100672", true), Some(Exhausted::Limit));
        let machine = Some(Exhausted::Machine);
        assert_eq!(of("under_oom 0\noom_kill 1\n", "67108864", false), machine, "the cache was full before");
        assert_eq!(of("under_oom 0\noom_kill 1\n", "50331648", true), machine, "a group above was full");
    }
}
