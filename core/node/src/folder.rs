//! The data folder: what a node remembers from one start to the next.

use crate::{DnsOptions, config::RingPreset};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::SocketAddr};
use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use taffeta_model::{ClusterId, NodeName};

/// Version of the folder's layout. Another one is refused, never guessed at.
pub(crate) const FORMAT: u32 = 1;

/// Small files by name. A write is durable and whole when it returns: the old contents or the new, nothing between.
pub trait Folder: Send + Sync + Debug + 'static {
    /// The contents; `None` if there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the contents. Files hold keys and tokens, so nobody else may read them.
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Removes the file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A [`Folder`] on disk, held by one process at a time.
#[derive(Debug)]
pub(crate) struct DiskFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder could not be taken into use. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("the data folder {0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
    #[error("another process uses the data folder {0}")]
    InUse(PathBuf),
}

impl DiskFolder {
    /// Creates the folder if needed and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |e| FolderError::Io(path.into(), e);
        // Keys and apps' environments lie in there.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse(path.into())),
            Err(e) => Err(failed(e.into())),
        }
    }
}

impl Folder for DiskFolder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(contents) => Ok(Some(contents)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let (target, partial) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&partial, &target)?;
        File::open(&self.path)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Who the node is: written once, when it has become a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) cluster: ClusterId,
    pub(crate) certificate: Vec<u8>,
    pub(crate) authority: Vec<u8>,
}

/// What was given at the last start, so that the next one needs no flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: NodeName,
    pub(crate) address: SocketAddr,
    pub(crate) advertise: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) dns: Option<SocketAddr>,
    pub(crate) zone: String,
    pub(crate) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) ring: RingPreset,
    #[serde(default)]
    pub(crate) no_gso: bool,
    #[serde(default)]
    pub(crate) dns_options: DnsOptions,
    pub(crate) api_open: bool,
    pub(crate) best_effort: bool,
}

/// Names of the files.
pub(crate) mod file {
    pub(crate) const FORMAT: &str = "format";
    pub(crate) const SETTINGS: &str = "settings.json";
    pub(crate) const KEY: &str = "node.key";
    pub(crate) const MEMBERSHIP: &str = "membership";
    pub(crate) const STARTS: &str = "starts";
    pub(crate) const ASSIGNED: &str = "assigned";
    pub(crate) const DIRECTORY: &str = "directory";
    pub(crate) const PEERS: &str = "peers";
    pub(crate) const AUTHORITY: &str = "ca.sealed";
    /// The CA's certificate, for clients of encrypted DNS.
    pub(crate) const AUTHORITY_PEM: &str = "ca.pem";
    pub(crate) const ADMIN_TOKEN: &str = "admin.token";
    pub(crate) const LOG: &str = "raft.redb";
    /// The node's id as text, for scripts.
    pub(crate) const NODE_ID: &str = "node.id";
}

/// Reads a postcard value. Damage is an error: it is never taken for an absent file.
pub(crate) fn load<T: DeserializeOwned>(folder: &dyn Folder, name: &str) -> io::Result<Option<T>> {
    let damaged = |e: postcard::Error| io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` is damaged: {e}"));
    folder.read(name)?.map(|contents| postcard::from_bytes(&contents).map_err(damaged)).transpose()
}

/// Writes a postcard value.
pub(crate) fn save<T: Serialize>(folder: &dyn Folder, name: &str, value: &T) -> io::Result<()> {
    folder.write(name, &postcard::to_stdvec(value).map_err(io::Error::other)?)
}
