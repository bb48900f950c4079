//! Files below a root: what they hold, and how they are changed so that nobody reads half of one.

use crate::failure::{Failure, Outcome};
use serde::Serialize;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Files of a resolver are small; what is larger is none.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder that stands for `/`.
pub(super) struct Root(PathBuf);

/// A file that is to become another.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// As the system calls it.
    pub(super) path: PathBuf,
    /// What it is to hold; `None`: it is to be removed.
    pub(super) after: Option<String>,
}

impl Root {
    pub(super) fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Whether it is the system that runs here.
    pub(super) fn is_running_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a file of the system is.
    fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.at(Path::new(path)).exists()
    }

    /// Whether the path is a symbolic link, and so another program's affair.
    pub(super) fn is_link(&self, path: &str) -> bool {
        self.at(Path::new(path)).is_symlink()
    }

    /// The names in a folder; none if there is no such folder.
    pub(super) fn list(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.at(Path::new(folder))) else { return Vec::new() };
        let names = entries.filter_map(|entry| Some(Path::new(folder).join(entry.ok()?.file_name())));
        names.collect()
    }

    /// What a file holds; `None` if there is none.
    pub(super) fn read(&self, path: &Path) -> Outcome<Option<String>> {
        let real = self.at(path);
        let failed = |e: &dyn std::fmt::Display| Failure::failed(format!("cannot read {}: {e}", real.display()));
        match fs::metadata(&real) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&e)),
            Ok(found) if found.len() > FILE_BYTES_MAX => Err(failed(&"it is too large to be a resolver's")),
            Ok(_) => fs::read_to_string(&real).map(Some).map_err(|e| failed(&e)),
        }
    }

    /// Makes a change: all of it or nothing.
    pub(super) fn apply(&self, change: &Change) -> Outcome {
        let path = self.at(&change.path);
        let done = match &change.after {
            Some(text) => write(&path, text),
            None => fs::remove_file(&path),
        };
        done.map_err(|e| {
            let failure = Failure::failed(format!("cannot change {}: {e}", path.display()));
            match e.kind() {
                io::ErrorKind::PermissionDenied => failure.help("run it as root, or see what it would do: --dry-run"),
                _ => failure,
            }
        })
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("taffeta-new");
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o644))?;
    fs::rename(&beside, path).or_else(|e| {
        let _ = fs::remove_file(&beside);
        // A file that is mounted from elsewhere, as in a container, cannot be replaced, only written.
        if e.kind() == io::ErrorKind::ResourceBusy { fs::write(path, text) } else { Err(e) }
    })
}
