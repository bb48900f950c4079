//! The demo's folder: made under a fresh name, gone at the end.

use crate::failure::{Failure, Outcome};
use std::{
    env,
    fs::DirBuilder,
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};
use taffeta_isolation_linux::remove_all;

/// Names that are tried; each is one of two thousand million.
const TRIES: usize = 16;

/// A folder `taffeta-demo-` and six characters, in TMPDIR.
pub(super) struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Its path has no links in it, as nodes see it in command lines.
    pub(super) fn create() -> Outcome<Self> {
        let parent = env::temp_dir();
        let failed = |e: io::Error| {
            Failure::failed(format!("cannot make a folder in {}: {e}", parent.display()))
                .help("name another place by TMPDIR")
        };
        let parent = parent.canonicalize().map_err(failed)?;
        for _ in 0..TRIES {
            let path = parent.join(format!("taffeta-demo-{}", random_letters()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it with all that is in it.
    pub(super) fn remove(self) -> Outcome {
        let mut removed = remove_all(&self.0);
        for _ in 0..50 {
            if removed.is_ok() || !self.0.exists() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)); // a process that was killed may just have made another file
            removed = remove_all(&self.0);
        }
        removed.map_err(|e| Failure::failed(format!("cannot remove {}: {e}", self.0.display())))
    }
}

fn random_letters() -> String {
    let mut number = RandomState::new().hash_one(0);
    let letter = |digit: u64| char::from_digit((digit % 36) as u32, 36).unwrap_or('0');
    std::iter::repeat_with(|| {
        let digit = number;
        number /= 36;
        letter(digit)
    })
    .take(6)
    .collect()
}
