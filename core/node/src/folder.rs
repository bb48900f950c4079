//! The data folder: what a node remembers from one start to the next.

use crate::{
    DnsOptions, TaskOptions,
    config::{OfferChanges, RingPreset},
    node::is_in_loop,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::SocketAddr};
use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use taffeta_model::{ClusterId, NodeName};
use taffeta_net::sha256;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Version of the folder's layout. That of the last release is converted; any other is refused, never guessed at.
pub(crate) const FORMAT: u32 = 2;

/// Small files by name. A write is durable and whole when it returns: the old contents or the new, nothing between.
pub trait Folder: Send + Sync + Debug + 'static {
    /// The contents; `None` if there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the contents. Files hold keys and tokens, so nobody else may read them.
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    /// Removes the file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Where the volumes of tasks are kept; `None` where tasks have no disk.
    fn volumes(&self) -> Option<PathBuf> {
        None
    }
    /// Where files that were fetched for tasks are kept; `None` where nothing is fetched.
    fn fetched(&self) -> Option<PathBuf> {
        None
    }
    /// What tells this folder from a copy of it, as `KEY=VALUE` separated by spaces; `None` if nothing does.
    fn place(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// A [`Folder`] on disk, held by one process at a time.
#[derive(Debug)]
pub(crate) struct DiskFolder {
    path: PathBuf,
    lock: File,
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
            Ok(()) => Ok(Self { path: path.into(), lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse(path.into())),
            Err(e) => Err(failed(e.into())),
        }
    }
}

/// Does what may wait long for a disk. Meanwhile, if one of the node's loops does it, another thread does what else the
/// node has to do: on a small machine it has one for all, and the ring would take a node for dead whose disk is slow.
/// Elsewhere it cannot be told whether the runtime allows it: whoever starts a node may do that in a `LocalSet`.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if is_in_loop() => block_in_place(work),
        Ok(_) | Err(_) => work(),
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
        aside(|| {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
            file.write_all(contents)?;
            file.sync_all()?;
            fs::rename(&partial, &target)?;
            File::open(&self.path)?.sync_all()
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn volumes(&self) -> Option<PathBuf> {
        // Links lead there from other folders.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Some(path.join("volumes"))
    }

    fn fetched(&self) -> Option<PathBuf> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Some(path.join("fetched"))
    }

    /// The lock file is made once and never replaced. Nobody can choose the number of a file or the moment of its birth,
    /// so a copy has others. The device's number is left out, as it may be another one after each boot.
    fn place(&self) -> io::Result<Option<String>> {
        let lock = self.lock.metadata()?;
        let mut place = format!("inode={}", lock.ino());
        let born = lock.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(born) = born {
            place += &format!(" born={}", born.as_nanos());
        }
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        if machine.trim().len() == 32 {
            place += &format!(" machine={}", machine.trim());
        }
        Ok(Some(place))
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
    pub(crate) offer: OfferChanges,
    /// Countable resources that the machine names itself.
    #[serde(default)]
    pub(crate) custom: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) ring: RingPreset,
    #[serde(default)]
    pub(crate) no_gso: bool,
    #[serde(default)]
    pub(crate) dns_options: DnsOptions,
    #[serde(default)]
    pub(crate) task_options: TaskOptions,
    pub(crate) api_open: bool,
    pub(crate) best_effort: bool,
}

/// Names of the files.
pub(crate) mod file {
    pub(crate) const FORMAT: &str = "format";
    pub(crate) const SETTINGS: &str = "settings.json";
    pub(crate) const KEY: &str = "node.key";
    pub(crate) const MEMBERSHIP: &str = "membership";
    /// The certificate in use and the CAs that are believed, once either has changed.
    pub(crate) const CERTIFICATE: &str = "certificate";
    pub(crate) const STARTS: &str = "starts";
    /// The newest lives of this node.
    pub(crate) const LIVES: &str = "lives";
    pub(crate) const ASSIGNED: &str = "assigned";
    pub(crate) const DIRECTORY: &str = "directory";
    pub(crate) const PEERS: &str = "peers";
    pub(crate) const AUTHORITY: &str = "ca.sealed";
    /// Certificates of the CAs that are believed, for clients of encrypted DNS.
    pub(crate) const AUTHORITY_PEM: &str = "ca.pem";
    pub(crate) const ADMIN_TOKEN: &str = "admin.token";
    /// Folder of the log.
    pub(crate) const LOG: &str = "raft";
    /// The log of earlier versions.
    pub(crate) const REDB_LOG: &str = "raft.redb";
    /// The newest log of a generation that is over, in one piece: kept for people, never read by a node.
    pub(crate) const OLD_LOG: &str = "raft.old";
    /// The newest recovery of the cluster that this node knows.
    pub(crate) const RECOVERY: &str = "recovery";
    /// A recovery after which the log is to be put aside at the next start.
    pub(crate) const FENCED: &str = "fenced";
    /// There if this folder is known to be an older copy of what the node had.
    pub(crate) const STALE: &str = "stale";
    /// What tells the folder from a copy of it.
    pub(crate) const PLACE: &str = "place";
    /// New contents of several files, while a folder of an older layout is converted.
    pub(crate) const CONVERTED: &str = "converted";
    /// The address at which tasks are answered, as text.
    pub(crate) const TASK_DNS: &str = "task-dns";
    /// The node's id as text, for scripts.
    pub(crate) const NODE_ID: &str = "node.id";
}

/// Reads a postcard value. Damage is an error: it is never taken for an absent file.
pub(crate) fn load<T: DeserializeOwned>(folder: &dyn Folder, name: &str) -> io::Result<Option<T>> {
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` is damaged: {why}"));
    let Some(contents) = folder.read(name)? else { return Ok(None) };
    let (value, sum) = contents.split_last_chunk().ok_or_else(|| damaged("it is cut off"))?;
    if checksum(value) != *sum {
        return Err(damaged("its checksum is another"));
    }
    postcard::from_bytes(value).map(Some).map_err(|e| damaged(&e.to_string()))
}

/// Begin of the SHA-256: enough against a disk that errs; nobody is to be kept from writing here by it.
fn checksum(value: &[u8]) -> [u8; 8] {
    let hash = sha256(value);
    std::array::from_fn(|index| hash[index])
}

/// A postcard value, and behind it a checksum.
pub(crate) fn encoded<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut contents = postcard::to_stdvec(value).map_err(io::Error::other)?;
    contents.extend(checksum(&contents));
    Ok(contents)
}

/// Writes a value as [`encoded`].
pub(crate) fn save<T: Serialize>(folder: &dyn Folder, name: &str, value: &T) -> io::Result<()> {
    folder.write(name, &encoded(value)?)
}
