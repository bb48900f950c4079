//! The file of a backup.
//!
//! ```text
//! taffeta-backup 2
//! {"cluster":"…","generation":0,…}      the header, one line of JSON: readable without any key
//! STATE                                 the version of its encoding and what that gives; secrets in it are encrypted
//! KEYS                                  the CA's key and the key-encryption key, encrypted to the recovery key
//! SHA-256                               32 bytes, over all before
//! ```
//!
//! The keys are bound to the hash of header and state, so that a state that was put together by somebody else does not
//! open with the keys of this cluster.

use crate::{
    kek::{Damaged, Kek},
    recovery::RecoveryKey,
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use taffeta_model::{ClusterId, Fence};
use thiserror::Error;

/// Version of the file. Another one is refused, never guessed at.
pub const FORMAT: u32 = 2;

/// Begins the file.
const MAGIC: &str = "taffeta-backup ";
/// Longest first line and longest header: 10,000 names of machines, apps and secrets each, of 63 bytes.
const FIRST_BYTES_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 4 << 20;
const HASH_BYTES: usize = 32;

/// What is in a backup, for people. The position is that of the newest entry in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// Its generation.
    pub generation: u64,
    /// Position of the newest entry, `GENERATION.TERM.INDEX`.
    pub position: String,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    /// Name of the node that took it.
    pub node: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// The machines.
    pub machines: Vec<String>,
    /// The apps.
    pub apps: Vec<String>,
    /// The secrets, by name.
    pub secrets: Vec<String>,
    /// Bytes of the state.
    pub state_bytes: u64,
    /// Bytes of the encrypted keys.
    pub keys_bytes: u64,
}

/// The cluster's keys, as they travel in a backup.
#[derive(Serialize, Deserialize)]
pub struct Keys {
    /// The cluster that they are of.
    pub cluster: ClusterId,
    /// Position of the state that they were put beside.
    pub position: Fence,
    /// The CA, as its owner encodes it.
    pub authority: Vec<u8>,
    /// The key-encryption key.
    pub kek: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.cluster)
    }
}

impl Keys {
    /// The key-encryption key.
    pub fn kek(&self) -> Kek {
        Kek::new(self.kek)
    }
}

/// A backup whose checksum is right.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What is in it.
    pub header: BackupHeader,
    /// The state, encoded.
    pub state: Vec<u8>,
    keys: Vec<u8>,
    bound: [u8; HASH_BYTES],
}

/// Why a backup cannot be used. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    /// Another kind of file.
    #[error("it is no backup: its first line is not `{MAGIC}{FORMAT}`")]
    NoBackup,
    /// Written by a version that writes otherwise.
    #[error("it is a backup of format {0}; this version of taffeta reads format {FORMAT}")]
    OtherFormat(u32),
    /// Not as it was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// The recovery key is that of another cluster, or the keys in the file are not those of its state.
    #[error("the recovery key does not open it: it is the key of another fabric")]
    WrongKey,
}

impl Backup {
    /// Makes the file. The sizes in the header are set here. `ephemeral` is fresh randomness.
    pub fn write(header: BackupHeader, state: &[u8], keys: &Keys, recovery: &[u8; 32], ephemeral: [u8; 32]) -> Vec<u8> {
        let keys = postcard::to_stdvec(keys).expect("plain data can be encoded");
        // Encryption adds the sender's key and a tag; the header must tell the size before the keys can be bound to it.
        let keys_bytes = (keys.len() + 32 + 16) as u64;
        let header = BackupHeader { state_bytes: state.len() as u64, keys_bytes, ..header };
        let header = serde_json::to_string(&header).expect("text and numbers are always JSON");
        let mut file = format!("{MAGIC}{FORMAT}\n{header}\n").into_bytes();
        file.extend_from_slice(state);
        let sealed = RecoveryKey::seal_to(recovery, ephemeral, &hash(&file), &keys);
        debug_assert_eq!(sealed.len() as u64, keys_bytes);
        file.extend(sealed);
        let sum = hash(&file);
        file.extend(sum);
        file
    }

    /// Reads and checks a file.
    pub fn read(file: &[u8]) -> Result<Self, BackupError> {
        let (first, rest) = line(file, FIRST_BYTES_MAX).ok_or(BackupError::NoBackup)?;
        let format = std::str::from_utf8(first).ok().and_then(|first| first.strip_prefix(MAGIC));
        let format: u32 = format.and_then(|format| format.trim_end().parse().ok()).ok_or(BackupError::NoBackup)?;
        if format != FORMAT {
            return Err(BackupError::OtherFormat(format));
        }
        let cut = BackupError::Damaged("it is shorter than it should be");
        let end = file.len().checked_sub(HASH_BYTES).ok_or_else(|| cut.clone())?;
        if file[end..] != hash(&file[..end]) {
            return Err(BackupError::Damaged("its checksum is wrong"));
        }
        let (header, body) = line(rest, HEADER_BYTES_MAX).ok_or_else(|| cut.clone())?;
        let header: BackupHeader =
            serde_json::from_slice(header).map_err(|_| BackupError::Damaged("its header cannot be read"))?;
        let body = &body[..body.len() - HASH_BYTES];
        let split = usize::try_from(header.state_bytes).ok().filter(|split| *split <= body.len()).ok_or(cut)?;
        let (state, keys) = body.split_at(split);
        let bound = hash(&file[..end - keys.len()]);
        Ok(Self { header, state: state.to_vec(), keys: keys.to_vec(), bound })
    }

    /// The cluster's keys.
    pub fn open(&self, key: &RecoveryKey) -> Result<Keys, BackupError> {
        let keys = key.unseal(&self.bound, &self.keys).map_err(|Damaged| BackupError::WrongKey)?;
        postcard::from_bytes(&keys).map_err(|_| BackupError::Damaged("its keys cannot be read"))
    }
}

/// The first line, without its end, and what follows.
fn line(bytes: &[u8], bytes_max: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(bytes_max).position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

pub(crate) fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
