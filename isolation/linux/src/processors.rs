//! Confining a group to some of the machine's processors: the controller `cpuset` of both versions.

use crate::limits::write;
use std::{
    fs,
    path::{Path, PathBuf},
};
use taffeta_model::CpuSet;

/// Gives the group, which lies below the hierarchy's root, these processors and no others, and sees that they are its
/// own. The error says why not.
pub(crate) fn confine(root: &Path, group: &Path, wanted: &CpuSet, v1: bool) -> Result<(), String> {
    let have = offered(root);
    if let Some(have) = have.as_ref().filter(|have| !wanted.is_within(have)) {
        return Err(format!("this machine has {have}"));
    }
    if v1 {
        // A group begins without processors and memory nodes here, and can be given only what the one above has.
        let above = group.ancestors().skip(1).take_while(|folder| *folder != root).map(PathBuf::from);
        let above: Vec<PathBuf> = above.collect();
        for folder in above.iter().rev().chain([&group.to_path_buf()]) {
            inherit(folder, "cpuset.mems")?;
            inherit(folder, "cpuset.cpus")?;
        }
    }
    let file = group.join("cpuset.cpus");
    write(&file, &wanted.to_string()).map_err(|e| format!("{}: {e}", file.display()))?;
    // v2 takes any number, and then gives what there is of them.
    let names = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
    let is = names.iter().find_map(|name| processors(&group.join(name)));
    if is.as_ref() == Some(wanted) {
        return Ok(());
    }
    Err(format!("the kernel gives {}", is.map_or_else(|| "none".into(), |is| is.to_string())))
}

/// Takes over what the group above has, unless there is something.
fn inherit(folder: &Path, name: &str) -> Result<(), String> {
    let read = |file: &Path| fs::read_to_string(file).map(|text| text.trim().to_owned()).unwrap_or_default();
    let file = folder.join(name);
    if !read(&file).is_empty() {
        return Ok(());
    }
    let above = folder.parent().map(|above| read(&above.join(name))).unwrap_or_default();
    write(&file, &above).map_err(|e| format!("{}: {e}", file.display()))
}

/// The processors that the hierarchy can give.
fn offered(root: &Path) -> Option<CpuSet> {
    ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"]
        .iter()
        .find_map(|name| processors(&root.join(name)))
}

fn processors(file: &Path) -> Option<CpuSet> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::confine;
    use std::fs;

    /// On version 2, where the kernel takes any number and says apart from that what it gives.
    #[test]
    fn a_group_has_the_processors_that_the_kernel_says_it_has() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("taffeta/n1/r1");
        fs::create_dir_all(&group).unwrap();
        fs::write(root.path().join("cpuset.cpus.effective"), "0-3\n").unwrap();
        let confine = |wanted: &str| confine(root.path(), &group, &wanted.parse().unwrap(), false);

        assert_eq!(confine("0,8"), Err("this machine has 0-3".into()));
        let missing = confine("0-1").unwrap_err();
        assert!(missing.contains("cpuset.cpus: No such file"), "{missing}");
        fs::write(group.join("cpuset.cpus"), "").unwrap();
        fs::write(group.join("cpuset.cpus.effective"), "0\n").unwrap();
        assert_eq!(confine("0-1"), Err("the kernel gives 0".into()), "a group above may have fewer");
        fs::write(group.join("cpuset.cpus.effective"), "0-1\n").unwrap();
        assert_eq!(confine("0-1"), Ok(()));
        assert_eq!(fs::read_to_string(group.join("cpuset.cpus")).unwrap(), "0-1");
    }
}
