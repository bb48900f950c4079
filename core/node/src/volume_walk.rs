//! What the volumes of this machine take of the disk, counted file by file where no quota of the file system tells it.
//!
//! Tasks write below while it is counted. So the walk goes from descriptor to descriptor and follows no link, whatever is put
//! where it looks. There is one walk at a time, whoever asks.

use crate::{
    volumes::{Made, found},
    wire::VolumeUse,
};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat},
    path::Arg,
};
use std::{
    collections::BTreeSet,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_isolation_linux::ProjectQuota;
use tokio::time::{Instant, timeout};

/// Most files and folders that one walk looks at, over all volumes: a few seconds of work.
const COUNTED_MAX: usize = 500_000;

/// Deepest folder that is looked into: each above it is held open meanwhile.
const DEPTH_MAX: usize = 100;

/// How long somebody who asks waits for a walk; after that, what the last one has found is given. Another machine that asks
/// waits a second longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found is given again for so long, and for so many times as long as it took to find it.
const FRESH: Duration = Duration::from_secs(1);
const REST: u32 = 10;

/// Measures the volumes. Clones share what they find.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    walking: Arc<tokio::sync::Mutex<()>>,
    last: Arc<Mutex<Option<Taken>>>,
}

/// What a walk has found.
struct Taken {
    volumes: Vec<VolumeUse>,
    fresh_until: Instant,
}

impl Meter {
    /// What the volumes below a folder take, as of now or of a while ago.
    pub(crate) async fn ask(&self, root: &Path) -> Vec<VolumeUse> {
        let _ = timeout(PATIENCE, self.walk(root)).await; // it goes on though nobody waits for it
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|taken| taken.volumes.clone()).unwrap_or_default()
    }

    /// Walks, after whoever walks already, and unless that brought what is new enough.
    #[expect(clippy::disallowed_methods, reason = "simulated machines have no folders of volumes")]
    async fn walk(&self, root: &Path) {
        let walking = Arc::clone(&self.walking).lock_owned().await;
        if self.is_fresh() {
            return;
        }
        let (root, last) = (root.to_owned(), Arc::clone(&self.last));
        let walk = move || {
            let _walking = walking; // held to the end of the walk
            let begun = Instant::now();
            let volumes = measure(&root, COUNTED_MAX);
            let took = begun.elapsed();
            tracing::debug!(volumes = volumes.len(), ?took, "the volumes were measured");
            let fresh_until = Instant::now() + FRESH.max(took * REST);
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken { volumes, fresh_until });
        };
        let _ = tokio::task::spawn_blocking(walk).await; // one that has failed is tried again when somebody asks
    }

    fn is_fresh(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_some_and(|taken| Instant::now() < taken.fresh_until)
    }
}

/// What the volumes below a folder take. At most `left` files and folders are looked at; each volume may use as many of
/// them as the others after it.
fn measure(root: &Path, mut left: usize) -> Vec<VolumeUse> {
    let mut taken: Vec<(VolumeUse, Option<PathBuf>)> = found(root).into_iter().map(by_quota).collect();
    let mut uncounted = taken.iter().filter(|(_, path)| path.is_some()).count();
    for (volume, path) in &mut taken {
        let Some(path) = path else { continue };
        let (bytes, looked_at) = taken_below(path, left / uncounted);
        volume.bytes = bytes;
        left -= looked_at;
        uncounted -= 1;
    }
    taken.into_iter().map(|(volume, _)| volume).collect()
}

/// What the file system knows of a volume; with its folder, if that has to be counted.
fn by_quota(((id, born), path): (Made, PathBuf)) -> (VolumeUse, Option<PathBuf>) {
    let quota = ProjectQuota::of(&path).ok().flatten();
    match quota.filter(|quota| quota.bound().is_ok_and(|bound| bound > 0)) {
        Some(quota) => (VolumeUse { id, born, bytes: quota.used().ok(), enforced: true }, None),
        None => (VolumeUse { id, born, bytes: None, enforced: false }, Some(path)),
    }
}

/// Bytes of the disk that all below a folder takes, and how many files and folders were looked at; `None` if there are more
/// than `most`, or if they lie too deep. What has several names counts once, and what goes meanwhile is left out.
fn taken_below(folder: &Path, most: usize) -> (Option<u64>, usize) {
    let (mut bytes, mut looked_at, mut linked) = (0u64, 0, BTreeSet::new());
    let mut open: Vec<Dir> = folder_at(CWD, folder).into_iter().collect();
    loop {
        let depth = open.len();
        let Some(dir) = open.last_mut() else { return (Some(bytes), looked_at) };
        let Some(Ok(entry)) = dir.read() else {
            open.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if looked_at == most {
            return (None, looked_at);
        }
        looked_at += 1;
        let Ok(at) = dir.fd() else { continue };
        let Ok(about) = statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_folder = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        if !is_folder && about.st_nlink > 1 && !linked.insert((about.st_dev, about.st_ino)) {
            continue;
        }
        // 512 is the unit of st_blocks, whatever the file system's own is.
        bytes += u64::try_from(about.st_blocks).unwrap_or_default() * 512;
        if is_folder && depth == DEPTH_MAX {
            return (None, looked_at);
        }
        if is_folder && let Some(inner) = folder_at(at, name) {
            open.push(inner);
        }
    }
}

/// A folder, to be read; `None` if it is something else, as a link that was put in its place.
fn folder_at(at: impl AsFd, name: impl Arg) -> Option<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Dir::new(openat(at, name, flags, Mode::empty()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, Meter, folder_at, measure, taken_below};
    use rustix::fs::CWD;
    use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

    const KIB_100: usize = 100 << 10;

    /// A folder with a file of 100 KiB.
    fn filled(path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("file"), vec![1; KIB_100]).unwrap();
    }

    fn bytes_below(path: &Path) -> usize {
        usize::try_from(taken_below(path, 1_000).0.expect("it can be counted")).unwrap()
    }

    #[test]
    fn what_lies_elsewhere_is_not_counted_whatever_leads_there() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("large"), vec![1; 1 << 20]).unwrap();
        filled(&root.path().join("inner"));
        symlink(elsewhere.path(), root.path().join("link")).unwrap();
        assert!((KIB_100..1 << 20).contains(&bytes_below(root.path())));
        assert!(folder_at(CWD, root.path().join("link")).is_none(), "a folder that was exchanged for a link meanwhile");
    }

    #[test]
    fn what_has_several_names_counts_once() {
        let root = tempfile::tempdir().unwrap();
        filled(root.path());
        for name in 0..9 {
            fs::hard_link(root.path().join("file"), root.path().join(format!("also-{name}"))).unwrap();
        }
        assert!((KIB_100..2 * KIB_100).contains(&bytes_below(root.path())));
    }

    #[test]
    fn what_is_too_much_or_too_deep_is_not_told() {
        let root = tempfile::tempdir().unwrap();
        filled(&root.path().join("a/b"));
        assert_eq!(taken_below(root.path(), 2), (None, 2));
        assert!(taken_below(root.path(), 3).0.is_some());
        let mut deep = root.path().join("a");
        (1..DEPTH_MAX).for_each(|_| deep.push("d"));
        fs::create_dir_all(&deep).unwrap();
        assert!(taken_below(root.path(), 1_000).0.is_none());
        fs::remove_dir(&deep).unwrap();
        assert!(taken_below(root.path(), 1_000).0.is_some());
    }

    #[test]
    fn a_volume_of_many_files_leaves_the_others_their_share() {
        let root = tempfile::tempdir().unwrap();
        let volume = |task: &str| root.path().join(format!("shop/{task}/data@0.1.7"));
        for task in ["a.1", "b.1", "c.1"] {
            filled(&volume(task));
        }
        for name in 0..40 {
            fs::write(volume("b.1").join(name.to_string()), "").unwrap();
        }
        let taken = measure(root.path(), 30);
        let counted = |task: &str| {
            let volume = taken.iter().find(|volume| volume.id.task.to_string() == format!("shop/{task}"));
            volume.is_some_and(|volume| volume.bytes.is_some() || volume.enforced)
        };
        assert!(counted("a.1") && counted("c.1"), "{taken:?}");
        assert!(taken.iter().any(|volume| volume.enforced) || !counted("b.1"), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_soon_is_told_what_the_last_walk_found() {
        let (root, meter) = (tempfile::tempdir().unwrap(), Meter::default());
        filled(&root.path().join("shop/a.1/data@0.1.7"));
        let (one, other) = tokio::join!(meter.ask(root.path()), meter.ask(root.path()));
        assert_eq!((one.len(), &one), (1, &other));
        filled(&root.path().join("shop/b.1/data@0.1.8"));
        assert_eq!(meter.ask(root.path()).await, one);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(meter.ask(root.path()).await.len(), 2);
        let _walking = meter.walking.lock().await;
        fs::remove_dir_all(root.path().join("shop/b.1")).unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(meter.ask(root.path()).await.len(), 2, "a walk that does not end holds nobody up");
    }
}
