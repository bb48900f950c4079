//! The folders of this machine's volumes: made before a task is started, and removed when an operator has dropped them.
//!
//! `DATA/volumes/APP/JOB.INDEX/NAME@BORN`, where `BORN` is the position of the placement that made the volume: one that
//! was dropped is never taken for one of the same name that came after it. The file system holds each to its size where it can
//! (project quotas); elsewhere they are measured.

use crate::{node::guarded, volume_walk::Meter, wire::VolumeUse};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_isolation_linux::{NoQuota, ProjectQuota, remove_all};
use taffeta_model::{AppName, AssignedSet, Fence, TaskId, VolumeId, VolumeName};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// How soon it is tried again to remove what could not be removed.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the disk may take to make a folder.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// A volume as it was made.
pub(crate) type Made = (VolumeId, Fence);

/// What a confirmed set says.
#[derive(Clone, Debug, Default)]
struct Listed {
    fence: Fence,
    volumes: BTreeMap<VolumeId, Fence>,
    /// What sets of the same generation have listed and do not list any more.
    dropped: BTreeSet<Made>,
}

/// The folders. Clones are of the same ones.
#[derive(Clone)]
pub(crate) struct VolumeFolders {
    /// `None` in a world without disks: tasks get none then.
    root: Option<PathBuf>,
    listed: watch::Sender<Option<Listed>>,
    /// Taken while folders come or empty ones go.
    lock: Arc<Mutex<()>>,
    /// One is made at a time: a disk that hangs holds one thread, not one more for each start.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What is kept though nobody lists it.
    left: Arc<Mutex<BTreeSet<String>>>,
    /// What the tasks of the newest set have asked for.
    sizes: Arc<Mutex<BTreeMap<Made, u64>>>,
    meter: Meter,
}

impl VolumeFolders {
    /// The folders below `root`; `persisted` is the set that was obeyed last.
    pub(crate) fn spawn(
        root: Option<PathBuf>,
        persisted: Option<&AssignedSet>,
        failed: &watch::Sender<Option<String>>,
        loops: &mut JoinSet<()>,
    ) -> Self {
        let known = persisted.and_then(|set| {
            let volumes = set.volumes.clone()?;
            Some(Listed { fence: set.fence, volumes, dropped: BTreeSet::new() })
        });
        let (listed, mut seen) = watch::channel(known);
        seen.mark_unchanged(); // what was persisted is not confirmed
        let (lock, left): (Arc<Mutex<()>>, Arc<Mutex<BTreeSet<String>>>) = Default::default();
        if let Some(root) = root.clone() {
            let work = keep_swept(root, seen, Arc::clone(&lock), Arc::clone(&left));
            loops.spawn(guarded("volumes", failed.clone(), work));
        }
        let sizes = Arc::new(Mutex::new(persisted.map(sizes_of).unwrap_or_default()));
        Self { root, listed, lock, turn: Arc::default(), left, sizes, meter: Meter::default() }
    }

    /// The tasks of a newer set ask for so much.
    pub(crate) fn note_sizes(&self, sizes: BTreeMap<Made, u64>) {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }

    /// What tasks have asked for, by volume.
    pub(crate) fn sizes(&self) -> BTreeMap<Made, u64> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A leader stands behind this set: what it does not list any more goes.
    pub(crate) fn take(&self, set: &AssignedSet) {
        let Some(volumes) = &set.volumes else { return };
        self.listed.send_if_modified(|listed| {
            let (mut dropped, mut same) = (BTreeSet::new(), false);
            if let Some(before) = listed.take().filter(|before| before.fence.generation == set.fence.generation) {
                same = before.fence == set.fence && before.volumes == *volumes;
                let gone = before.volumes.into_iter().filter(|(id, born)| volumes.get(id) != Some(born));
                dropped = before.dropped.into_iter().chain(gone).collect();
            }
            *listed = Some(Listed { fence: set.fence, volumes: volumes.clone(), dropped });
            !same
        });
    }

    /// Makes the folder of a task's volume, unless it is there, and lets the file system hold it to its size where it can.
    /// `None` in a world without disks.
    #[expect(clippy::disallowed_methods, reason = "simulated machines have no folders of volumes")]
    pub(crate) async fn ready(&self, id: &VolumeId, born: Fence, size: u64) -> io::Result<Option<PathBuf>> {
        if self.root.is_none() {
            return Ok(None);
        }
        let (folders, id) = (self.clone(), id.clone());
        let made = async move {
            let turn = Arc::clone(&folders.turn).lock_owned().await;
            let make = move || {
                let _turn = turn; // held to the end of the work, also if nobody waits for that any more
                folders.ensure(&id, born, size)
            };
            tokio::task::spawn_blocking(make).await.map_err(io::Error::other)?
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("the disk has not answered for {READY_LIMIT:?}"));
        timeout(READY_LIMIT, made).await.map_err(|_| late())?
    }

    /// The same, where it may take as long as it likes.
    fn ensure(&self, id: &VolumeId, born: Fence, size: u64) -> io::Result<Option<PathBuf>> {
        let Some(root) = &self.root else { return Ok(None) };
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let above = folder_of(root, &id.task);
        let path = above.join(format!("{}@{born}", id.name));
        // As with the folder of a run: whoever gives up root must still reach what is its own.
        DirBuilder::new().recursive(true).mode(0o711).create(&above)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => File::open(&above)?.sync_all()?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(&path)?.is_dir() => {}
            Err(e) => return Err(e),
        }
        match ProjectQuota::set(&path, size) {
            Ok(_) => {}
            Err(NoQuota::Impossible(why)) => tracing::debug!(volume = %id, why, "measured, not bounded"),
            Err(NoQuota::Failed(error)) => tracing::warn!(volume = %id, %error, "the file system does not bound it"),
        }
        Ok(Some(path))
    }

    /// What the volumes take of the disk, as of now or of a while ago.
    pub(crate) async fn taken(&self) -> Vec<VolumeUse> {
        match &self.root {
            Some(root) if root.exists() => self.meter.ask(root).await,
            Some(_) | None => vec![],
        }
    }

    /// Volumes that are kept here though nobody lists them, as they are of an earlier generation.
    pub(crate) fn left(&self) -> Vec<String> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Removes what confirmed sets do not list any more, for ever.
#[expect(clippy::disallowed_methods, reason = "simulated machines have no folders of volumes")]
async fn keep_swept(
    root: PathBuf,
    mut seen: watch::Receiver<Option<Listed>>,
    lock: Arc<Mutex<()>>,
    left: Arc<Mutex<BTreeSet<String>>>,
) {
    let mut failed = false;
    loop {
        let news = timeout(if failed { AGAIN } else { Duration::MAX }, seen.changed()).await;
        if matches!(news, Ok(Err(_))) {
            return;
        }
        let Some(listed) = seen.borrow_and_update().clone() else { continue };
        let (root, lock) = (root.clone(), Arc::clone(&lock));
        let swept = tokio::task::spawn_blocking(move || sweep(&root, &listed, &lock)).await;
        let Ok(swept) = swept else { return };
        failed = swept.kept_by_error;
        let mut known = left.lock().unwrap_or_else(PoisonError::into_inner);
        for new in swept.left.difference(&known) {
            tracing::warn!(volume = new, "a volume of an earlier generation is kept, though nobody has it any more");
        }
        *known = swept.left;
    }
}

/// What a look at the folders gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Swept {
    left: BTreeSet<String>,
    kept_by_error: bool,
}

/// Removes what was dropped. What was made in an earlier generation and was not listed in this one is kept: a recovery may
/// have forgotten it.
fn sweep(root: &Path, listed: &Listed, lock: &Mutex<()>) -> Swept {
    let mut swept = Swept::default();
    for ((id, born), path) in found(root) {
        if listed.volumes.get(&id) == Some(&born) || born > listed.fence {
            continue;
        }
        let here = born.generation == listed.fence.generation || listed.dropped.contains(&(id.clone(), born));
        if !here {
            swept.left.insert(format!("{id}@{born}"));
            continue;
        }
        if let Ok(Some(quota)) = ProjectQuota::of(&path) {
            let _ = quota.lift(); // its number may be given again
        }
        match remove_all(&path) {
            Ok(()) => tracing::info!(volume = %id, "a volume that was dropped is removed"),
            Err(error) => {
                tracing::warn!(volume = %id, %error, "a volume that was dropped could not be removed yet");
                swept.kept_by_error = true;
                continue;
            }
        }
        let _lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let above = folder_of(root, &id.task);
        for empty in [Some(above.as_path()), above.parent()].into_iter().flatten() {
            let _ = fs::remove_dir(empty); // as long as others are in it, it stays
        }
    }
    swept
}

/// What the tasks of a set ask for.
pub(crate) fn sizes_of(set: &AssignedSet) -> BTreeMap<Made, u64> {
    let of = |(task, assigned): (&TaskId, &taffeta_model::Assigned)| {
        let volume = assigned.job.volume.as_ref()?;
        Some(((VolumeId { task: task.clone(), name: volume.name.clone() }, assigned.volume?), volume.size))
    };
    set.tasks.iter().filter_map(of).collect()
}

fn folder_of(root: &Path, task: &TaskId) -> PathBuf {
    root.join(task.app.as_str()).join(task.short())
}

/// The volumes that are there. What is named otherwise, or is no folder, is nobody's business.
pub(crate) fn found(root: &Path) -> Vec<(Made, PathBuf)> {
    let mut found = vec![];
    for (app, path) in folders(root) {
        let Ok(app) = AppName::new(app) else { continue };
        for (task, path) in folders(&path) {
            let Ok(task) = format!("{app}/{task}").parse::<TaskId>() else { continue };
            for (name, path) in folders(&path) {
                if let Some((name, born)) = volume_name(&name) {
                    found.push(((VolumeId { task: task.clone(), name }, born), path));
                }
            }
        }
    }
    found
}

fn volume_name(folder: &str) -> Option<(VolumeName, Fence)> {
    let (name, born) = folder.split_once('@')?;
    let mut numbers = born.split('.').map(|number| number.parse::<u64>().ok());
    let born = Fence { generation: numbers.next()??, term: numbers.next()??, index: numbers.next()?? };
    (numbers.next().is_none() && folder == format!("{name}@{born}")).then_some(())?;
    Some((VolumeName::new(name).ok()?, born))
}

/// Folders in a folder by name; links are none.
fn folders(path: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Fence, Listed, Swept, VolumeFolders, VolumeId, sweep};
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, sync::Mutex};
    use tokio::sync::watch;

    fn at(generation: u64, index: u64) -> Fence {
        Fence { generation, term: 1, index }
    }

    fn id(task: &str) -> VolumeId {
        VolumeId { task: task.parse().unwrap(), name: "data".parse().unwrap() }
    }

    fn folders(root: &Path) -> VolumeFolders {
        let (listed, _) = watch::channel(None);
        let (lock, turn, left, sizes, meter) = Default::default();
        VolumeFolders { root: Some(root.into()), listed, lock, turn, left, sizes, meter }
    }

    fn listed(fence: Fence, volumes: &[(&str, Fence)], dropped: &[(&str, Fence)]) -> Listed {
        let made = |(task, born): &(&str, Fence)| (id(task), *born);
        let dropped: BTreeSet<_> = dropped.iter().map(made).collect();
        Listed { fence, volumes: volumes.iter().map(made).collect(), dropped }
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone_and_made_once() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        let path = folders.ensure(&id("shop/db.1"), at(0, 7), 1 << 20).unwrap().unwrap();
        assert_eq!(path, root.path().join("shop/db.1/data@0.1.7"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("file"), "kept").unwrap();
        folders.ensure(&id("shop/db.1"), at(0, 7), 1 << 20).unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "kept");
        let other = folders.ensure(&id("shop/db.1"), at(0, 9), 1 << 20).unwrap().unwrap();
        assert!(fs::read_dir(other).unwrap().next().is_none(), "one that was made later is another one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_holds_no_start_up_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        let hangs = folders.turn.lock().await;
        let late = folders.ready(&id("shop/db.1"), at(0, 7), 1 << 20).await.unwrap_err();
        assert!(late.to_string().contains("has not answered for 10s"), "{late}");
        drop(hangs);
        assert!(folders.ready(&id("shop/db.1"), at(0, 7), 1 << 20).await.unwrap().unwrap().is_dir());
    }

    #[test]
    fn a_link_is_not_taken_for_a_volume_and_what_it_leads_to_stays() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("precious"), "").unwrap();
        let path = folders(root.path()).ensure(&id("shop/db.1"), at(0, 7), 1 << 20).unwrap().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), path.join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("shop/db.1/data@0.1.8")).unwrap();
        assert!(folders(root.path()).ensure(&id("shop/db.1"), at(0, 8), 1 << 20).is_err());
        assert_eq!(sweep(root.path(), &listed(at(0, 9), &[], &[]), &Mutex::default()), Swept::default());
        assert!(!path.exists() && elsewhere.path().join("precious").exists());
    }

    /// More deeply than a stack is deep, or files can be open.
    #[test]
    fn however_deep_a_task_has_dug_in_its_volume_it_goes() {
        let root = tempfile::tempdir().unwrap();
        let path = folders(root.path()).ensure(&id("shop/db.1"), at(0, 7), 1 << 20).unwrap().unwrap();
        let mut deep = openat(CWD, &path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20_000 {
            mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = openat(&deep, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(sweep(root.path(), &listed(at(0, 9), &[], &[]), &Mutex::default()), Swept::default());
        assert!(!root.path().join("shop").exists());
    }

    #[test]
    fn what_is_not_listed_goes_if_it_was_made_in_this_generation_or_listed_in_it() {
        let root = tempfile::tempdir().unwrap();
        let make = |task: &str, born| folders(root.path()).ensure(&id(task), born, 1 << 20).unwrap().unwrap();
        let listed_one = make("shop/db.1", at(1, 5));
        let gone = make("shop/db.1", at(1, 3));
        let older = make("shop/db.2", at(0, 9));
        let dropped = make("shop/db.3", at(0, 9));
        let newer = make("shop/db.4", at(1, 11));
        fs::create_dir(root.path().join("shop/db.1/not a volume")).unwrap();
        let set = listed(at(1, 10), &[("shop/db.1", at(1, 5))], &[("shop/db.3", at(0, 9))]);
        let swept = sweep(root.path(), &set, &Mutex::default());
        assert_eq!(swept.left, ["shop/db.2/data@0.1.9".to_owned()].into());
        assert!(listed_one.exists() && older.exists() && newer.exists(), "{swept:?}");
        assert!(!gone.exists() && !dropped.exists() && !root.path().join("shop/db.3").exists());
        assert!(root.path().join("shop/db.1/not a volume").exists());
    }

    #[test]
    fn a_set_that_says_nothing_drops_nothing() {
        let folders = folders(Path::new("/nowhere"));
        let set = |index, volumes| super::AssignedSet { fence: at(0, index), volumes, ..Default::default() };
        let volumes = |all: &[(&str, Fence)]| Some(listed(at(0, 0), all, &[]).volumes);
        folders.take(&set(1, volumes(&[("shop/db.1", at(0, 1)), ("shop/db.2", at(0, 1))])));
        folders.take(&set(2, volumes(&[("shop/db.1", at(0, 1))])));
        folders.take(&set(u64::MAX, None));
        let now = folders.listed.borrow().clone().unwrap();
        assert_eq!((now.fence, now.volumes.len()), (at(0, 2), 1));
        assert_eq!(now.dropped, [(id("shop/db.2"), at(0, 1))].into());
        folders.take(&super::AssignedSet { fence: at(1, 3), volumes: volumes(&[]), ..Default::default() });
        assert!(
            folders.listed.borrow().clone().unwrap().dropped.is_empty(),
            "a new generation may have forgotten them"
        );
    }
}
