//! Where this machine has its cgroups: which hierarchies are mounted, and where.

use crate::group::{Groups, UNIFIED};
use rustix::fs::statfs;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use taffeta_isolation_plan::{Cgroups, Controller};

/// What `statfs` says of a hierarchy of either version (`include/uapi/linux/magic.h`).
const V1_MAGIC: i64 = 0x0027_e0eb;
const V2_MAGIC: i64 = 0x6367_7270;

/// The hierarchies that are mounted, as this process sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Of version 1, by controller. Those that are mounted together have one folder.
    pub(crate) v1: BTreeMap<Controller, PathBuf>,
    /// Of version 2.
    pub(crate) unified: Option<PathBuf>,
}

impl Hierarchies {
    /// Those that are really there: what is mounted over one hides it.
    pub(crate) fn find() -> Self {
        let mut found = Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let is = |path: &Path, magic: i64| statfs(path).is_ok_and(|fs| i128::from(fs.f_type) == i128::from(magic));
        found.v1.retain(|_, path| is(path, V1_MAGIC));
        found.unified = found.unified.filter(|path| is(path, V2_MAGIC));
        found
    }

    /// From the text of `/proc/self/mountinfo`: see proc_pid_mountinfo(5).
    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, source)) = line.split_once(" - ") else { continue };
            let Some(at) = mount.split(' ').nth(4).map(unescaped) else { continue };
            let mut source = source.split(' ');
            match (source.next(), source.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.unified.get_or_insert(at);
                }
                (Some("cgroup"), Some(options)) => {
                    let has = |c: &Controller| options.split(',').any(|option| option == c.v1_name());
                    for controller in Controller::ALL.into_iter().filter(has) {
                        found.v1.entry(controller).or_insert_with(|| at.clone());
                    }
                }
                (Some(_), _) | (None, _) => {}
            }
        }
        found
    }

    /// Where the group of this path lies, whether or not it exists: in each hierarchy that can be used.
    pub(crate) fn groups(&self, path: &str, cgroups: &Cgroups) -> Groups {
        let tracked = match cgroups {
            Cgroups::None { .. } | Cgroups::V1(_) => None,
            Cgroups::Hybrid(_) | Cgroups::V2(_) => self.unified.as_ref(),
        };
        let tracked = tracked.map(|root| (UNIFIED.to_owned(), root.join(path)));
        let limited = match cgroups {
            Cgroups::None { .. } | Cgroups::V2(_) => None,
            Cgroups::V1(have) | Cgroups::Hybrid(have) => Some(have),
        };
        let usable = |(controller, _): &(&Controller, &PathBuf)| limited.is_some_and(|have| have.contains(controller));
        let named = |(controller, root): (&Controller, &PathBuf)| (controller.v1_name().to_owned(), root.join(path));
        Groups(self.v1.iter().filter(usable).map(named).chain(tracked).collect())
    }

    /// The same in all hierarchies there are, for whoever looks for what an earlier agent has left: what could be used
    /// then may not be usable now.
    pub(crate) fn everywhere(&self, path: &str) -> Groups {
        let v1 = self.v1.iter().map(|(controller, root)| (controller.v1_name(), root));
        let all = v1.chain(self.unified.iter().map(|root| (UNIFIED, root)));
        Groups(all.map(|(name, root)| (name.to_owned(), root.join(path))).collect())
    }
}

/// A path of the file, in which spaces and the like are written as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /mnt/the\\040one rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 / /elsewhere rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hierarchies_are_found_by_what_they_control_wherever_they_are_mounted() {
        let found = Hierarchies::parse(HYBRID);
        let joined = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct");
        let v1 = [
            (Controller::Cpu, joined.clone()),
            (Controller::CpuAcct, joined),
            (Controller::Io, "/sys/fs/cgroup/blkio".into()),
        ];
        assert_eq!(found, Hierarchies { v1: v1.into(), unified: Some("/mnt/the one".into()) });
        assert_eq!(Hierarchies::parse("nonsense\n\n1 2 - cgroup\n"), Hierarchies::default());
    }

    #[test]
    fn a_hybrid_machine_has_groups_of_both_versions_and_a_folder_only_once() {
        let (found, have) = (Hierarchies::parse(HYBRID), BTreeSet::from(Controller::ALL));
        let names = |groups: &Groups| groups.0.keys().cloned().collect::<Vec<_>>();
        let hybrid = found.groups("taffeta/n1/r1", &Cgroups::Hybrid(have.clone()));
        assert_eq!(names(&hybrid), ["blkio", "cpu", "cpuacct", "unified"]);
        assert_eq!(hybrid.folders().len(), 3, "cpu and cpuacct share theirs");
        assert_eq!(names(&found.groups("x", &Cgroups::V1(have.clone()))), ["blkio", "cpu", "cpuacct"]);
        assert_eq!(names(&found.groups("x", &Cgroups::V2(have))), ["unified"]);
        assert_eq!(found.everywhere("x").0.len(), 4);
    }
}
