//! What tasks put in the way of being removed. Under few open files, and by a user who is not root: `hostile.rs`, `limits.rs`.

use super::remove_all;
use crate::sys;
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    mount::{MountFlags, mount},
};
use std::{
    ffi::CStr,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
};

/// Folders in one another: a path to the last is far too long.
fn chain(top: &Path, depth: usize) {
    let mut at = openat(CWD, top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = openat(&at, c"d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn however_deep_and_wide_it_goes() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    for one in 0..20 {
        let inner = top.join(format!("{one}/inner"));
        fs::create_dir_all(&inner).unwrap();
        (0..20).for_each(|n| fs::write(inner.join(n.to_string()), "x").unwrap());
        chain(&inner, 40);
    }
    chain(&top, 20_000);
    remove_all(&top).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    assert_eq!(remove_all(&top).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_has_the_names_that_are_used_on_the_way_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    let make = |path: &str| fs::create_dir_all(top.join(path)).unwrap();
    ["a/b/c/d", ".gone-1/x/y/z", ".gone-3", ".gone-0/.gone-0/.gone-0", "e/.gone-2/f"]
        .iter()
        .for_each(|path| make(path));
    [".gone-2", ".gone-4", "a/.gone-9"].iter().for_each(|path| fs::write(top.join(path), "x").unwrap());
    remove_all(&top).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_links_lead_to_stays() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("precious"), "x").unwrap();
    let top = root.path().join("top");
    fs::create_dir_all(top.join("a/b")).unwrap();
    for link in ["link", "a/link", "a/b/link"] {
        symlink(elsewhere.path(), top.join(link)).unwrap();
    }
    remove_all(&top).unwrap();
    symlink(elsewhere.path(), &top).unwrap();
    remove_all(&top).unwrap();
    assert!(!fs::exists(&top).unwrap() && elsewhere.path().join("precious").exists());
}

#[test]
fn what_its_owner_has_forbidden_itself_goes() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    fs::create_dir_all(top.join("a/b/c/d")).unwrap();
    fs::create_dir_all(top.join("closed")).unwrap();
    fs::write(top.join("a/b/file"), "x").unwrap();
    for (path, mode) in [("a/b/c", 0), ("a/b", 0o500), ("a", 0), ("closed", 0), ("", 0o400)] {
        fs::set_permissions(top.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Root is forbidden nothing; a user who is not root comes by here, too: `as_an_ordinary_user`.
    remove_all(&top).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_is_mounted_in_it_is_not_entered() {
    let root = tempfile::tempdir().unwrap();
    let mounted = root.path().join("top/a/b");
    fs::create_dir_all(&mounted).unwrap();
    let tried = thread::scope(|scope| {
        // In a view of the files that goes with the thread.
        let alone = scope.spawn(|| -> io::Result<io::Error> {
            sys::own_mounts()?;
            mount("none", &mounted, "tmpfs", MountFlags::empty(), None::<&CStr>)?;
            fs::create_dir_all(mounted.join("deep/er"))?;
            fs::write(mounted.join("precious"), "x")?;
            let refused = remove_all(&root.path().join("top")).expect_err("something is mounted in it");
            assert!(mounted.join("precious").exists() && mounted.join("deep/er").exists());
            Ok(refused)
        });
        alone.join().unwrap()
    });
    match tried {
        Ok(refused) => assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy, "{refused}"),
        Err(e) => eprintln!("SKIPPED: nothing can be mounted here: {e}"),
    }
    remove_all(&root.path().join("top")).unwrap();
}
