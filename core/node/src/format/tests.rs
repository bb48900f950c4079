pub(crate) mod records;

use super::*;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use taffeta_model::{Fence, NodeId};

/// A folder in memory that fails after so many changes.
#[derive(Debug)]
struct Memory {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    left: AtomicUsize,
}

impl Memory {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> io::Result<()> {
        let spend = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).map_err(|_| io::Error::other("killed"))?;
        change(&mut self.files.lock().unwrap());
        Ok(())
    }
}

impl Folder for Memory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.lock().unwrap().get(name).cloned())
    }
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.change(|files| drop(files.insert(name.into(), contents.to_vec())))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|files| drop(files.remove(name)))
    }
}

fn folder(format: &str) -> Memory {
    let files = BTreeMap::from([(file::FORMAT.into(), format.into())]);
    Memory { files: Mutex::new(files), left: AtomicUsize::new(usize::MAX) }
}

fn fence(index: u64) -> Fence {
    Fence { generation: 0, term: 1, index }
}

fn of_layout_1() -> Memory {
    let folder = folder("1");
    let members = BTreeMap::from([(
        NodeId(1),
        taffeta_model::DirectoryMember {
            name: "n1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
            public_key: [3; 32],
        },
    )]);
    let directory = v1::Directory { fence: fence(3), apps: BTreeMap::new(), members, admin_token_hash: [4; 32] };
    let assigned = v1::AssignedSet { fence: fence(5), tasks: BTreeMap::new() };
    folder.write(file::DIRECTORY, &postcard::to_stdvec(&directory).unwrap()).unwrap();
    folder.write(file::ASSIGNED, &postcard::to_stdvec(&assigned).unwrap()).unwrap();
    folder
}

#[test]
fn a_folder_of_the_last_release_is_converted_also_if_it_is_interrupted_anywhere() {
    for kill_after in 0..6 {
        let folder = of_layout_1();
        folder.left.store(kill_after, Ordering::Relaxed);
        let first = check(&folder);
        assert_eq!(first.is_err(), kill_after < 5, "there are five changes");
        folder.left.store(usize::MAX, Ordering::Relaxed);
        check(&folder).unwrap();
        assert_eq!(folder.read(file::FORMAT).unwrap().unwrap(), FORMAT.to_string().as_bytes());
        let assigned: AssignedSet = load(&folder, file::ASSIGNED).unwrap().unwrap();
        let directory: Directory = load(&folder, file::DIRECTORY).unwrap().unwrap();
        assert_eq!((assigned.fence, directory.fence, directory.members.len()), (fence(5), fence(3), 1));
    }
}

#[test]
fn a_new_folder_is_marked_and_a_newer_or_unknown_one_is_refused_unchanged() {
    let new = folder("");
    new.files.lock().unwrap().clear();
    check(&new).unwrap();
    check(&new).unwrap();
    for (format, word) in [((FORMAT + 1).to_string(), "newer"), ("0".into(), "`0`"), ("x".into(), "`x`")] {
        let folder = folder(&format);
        let before = folder.files.lock().unwrap().clone();
        let refused = check(&folder).unwrap_err();
        assert!(refused.to_string().contains(word) && refused.help.is_some(), "{refused}");
        assert_eq!(*folder.files.lock().unwrap(), before);
    }
}
