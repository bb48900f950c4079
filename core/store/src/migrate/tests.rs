use super::*;
use crate::{FolderFiles, disk::Loaded};
use std::path::PathBuf;

const NODE: NodeId = NodeId(3);

struct Folder {
    data: tempfile::TempDir,
    old: PathBuf,
    held: Loaded,
}

/// A data folder as an earlier version left it.
fn folder() -> Folder {
    let data = tempfile::tempdir().unwrap();
    let old = data.path().join("raft.redb");
    let mut disk = RedbDisk::open(&old).unwrap();
    disk.load().unwrap();
    for n in 0..50_u8 {
        let mut ops = vec![Op::Append(vec![(n.into(), vec![n; 100])]), Op::Vote(vec![n; 9])];
        if n == 30 {
            ops.extend([Op::Snapshot(vec![7; 30], vec![8; 700]), Op::Purge(22, vec![22; 5])]);
        }
        disk.commit(&ops, Some(vec![n; 7])).unwrap();
    }
    let held = disk.load().unwrap();
    assert_eq!(held.log.len(), 27);
    Folder { data, old, held }
}

impl Folder {
    fn files(&self) -> Arc<dyn Files> {
        Arc::new(FolderFiles::open(&self.data.path().join("raft")).unwrap())
    }

    fn migrate(&self) -> io::Result<()> {
        migrate(&self.old, &self.files(), NODE, Sizes::default())
    }

    fn load(&self) -> Loaded {
        SegmentDisk::open(self.files(), NODE, Sizes::default()).unwrap().load().unwrap()
    }
}

#[test]
fn an_earlier_versions_log_is_taken_over_whole_and_removed() {
    let folder = folder();
    folder.migrate().unwrap();
    assert!(!folder.old.exists());
    assert_eq!(folder.load(), folder.held);
    folder.migrate().unwrap(); // there is nothing to do
    assert_eq!(folder.load(), folder.held);
}

#[test]
fn without_an_earlier_log_nothing_is_done() {
    let data = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(FolderFiles::open(&data.path().join("raft")).unwrap());
    migrate(&data.path().join("raft.redb"), &files, NODE, Sizes::default()).unwrap();
    assert_eq!(files.list().unwrap(), [crate::files::LOCK]);
}

#[test]
fn what_an_interrupted_attempt_left_does_not_count() {
    let folder = folder();
    let kept = fs::read(&folder.old).unwrap();
    folder.migrate().unwrap();
    let whole = folder.files();
    let names: Vec<String> = whole.list().unwrap().into_iter().filter(|name| name != crate::files::LOCK).collect();
    assert!(names.len() >= 2);
    drop(whole);
    for name in &names {
        // Killed before the old one was removed, with one of the new files torn.
        fs::write(&folder.old, &kept).unwrap();
        let path = folder.data.path().join("raft").join(name);
        let torn = fs::read(&path).unwrap();
        fs::write(&path, &torn[..torn.len() / 2]).unwrap();
        folder.migrate().unwrap();
        assert!(!folder.old.exists());
        assert_eq!(folder.load(), folder.held, "{name}");
    }
}

#[test]
fn a_damaged_log_is_not_taken_over_and_stays() {
    let folder = folder();
    let mut bytes = fs::read(&folder.old).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&folder.old, &bytes).unwrap();
    assert!(folder.migrate().is_err());
    assert!(folder.old.exists());
}
