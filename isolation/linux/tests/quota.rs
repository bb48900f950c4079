//! Folders that the file system bounds: on an ext4 of their own, in a file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};
use taffeta_isolation_linux::{NoQuota, ProjectQuota};

/// A file system with project quotas, unmounted and gone when dropped, also by a failing test.
struct Mounted {
    root: tempfile::TempDir,
}

impl Mounted {
    /// `None`, with the reason said aloud, where there can be none.
    fn new(options: &str) -> Option<Self> {
        let mounted = Self { root: tempfile::tempdir().unwrap() };
        let image = mounted.root.path().join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(mounted.at()).unwrap();
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-O", "project,quota", "-E", "quotatype=prjquota", &image])?;
        run("mount", &["-o", options, &image, &mounted.at().display().to_string()])?;
        Some(mounted)
    }

    fn at(&self) -> PathBuf {
        self.root.path().join("mounted")
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.at().join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at()).output(); // it may never have been mounted
    }
}

fn run(program: &str, args: &[&str]) -> Option<()> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => {
            eprintln!("SKIPPED: {program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
            None
        }
        Err(e) => {
            eprintln!("SKIPPED: {program} cannot be run: {e}");
            None
        }
    }
}

fn write(folder: &Path, name: &str, bytes: usize) -> io::Result<()> {
    let path = folder.join(name);
    fs::write(&path, vec![1; bytes])?;
    File::open(path)?.sync_all()
}

#[test]
fn a_folder_grows_to_its_bound_and_no_further_and_its_neighbour_is_unharmed() {
    let Some(mounted) = Mounted::new("loop,prjquota") else { return };
    let (one, other) = (mounted.folder("one"), mounted.folder("other"));
    let quota = ProjectQuota::set(&one, 1 << 20).unwrap();
    ProjectQuota::set(&other, 1 << 20).unwrap();
    write(&one, "a", 700 << 10).unwrap();
    fs::create_dir(one.join("inner")).unwrap();
    let refused = write(&one.join("inner"), "b", 700 << 10).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(122), "EDQUOT, and not {refused}");
    let used = quota.used().unwrap();
    assert!((700 << 10..=1 << 20).contains(&used), "{used}");
    write(&other, "c", 900 << 10).unwrap();

    // A larger size is another bound of the same folder.
    let again = ProjectQuota::set(&one, 4 << 20).unwrap();
    assert_eq!(again.bound().unwrap(), 4 << 20);
    write(&one.join("inner"), "b", 700 << 10).unwrap();
    again.lift().unwrap();
    assert_eq!(ProjectQuota::of(&one).unwrap().unwrap().bound().unwrap(), 0);
}

#[test]
fn what_cannot_be_bounded_says_why() {
    let Some(mounted) = Mounted::new("loop,prjquota") else { return };
    let full = mounted.folder("full");
    write(&full, "a", 10).unwrap();
    let why = ProjectQuota::set(&full, 1 << 20).unwrap_err();
    assert!(matches!(why, NoQuota::Impossible(why) if why.contains("it held files before")));
    assert!(ProjectQuota::of(&full).unwrap().is_none());
    drop(mounted);
    let Some(plain) = Mounted::new("loop,noquota") else { return };
    let why = ProjectQuota::set(&plain.folder("one"), 1 << 20).unwrap_err();
    assert!(matches!(&why, NoQuota::Impossible(why) if why.contains("prjquota")), "{why:?}");
}
