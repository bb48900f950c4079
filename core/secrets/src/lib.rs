//! What keeps secrets secret: the encryption of their values, the recovery key, and the file of a backup.
//!
//! Each version of a secret has a key of its own, which is wrapped by the cluster's key-encryption key ([`Kek`]). Voters
//! hold that one in memory, and sealed on disk; log, snapshots and backups hold wrapped keys and ciphertext. A backup
//! carries the cluster's keys encrypted to the [`RecoveryKey`], which is made once and belongs to an operator.
//!
//! Pure: randomness comes in as an argument, files stay outside. Left out: who may have which secret (`taffeta-node`), and
//! what is replicated of it (`taffeta-model`).

mod aead;
mod backup;
mod kek;
mod recovery;

pub use aead::{Sealed, seal, unseal};
pub use backup::{Backup, BackupError, BackupHeader, FORMAT as BACKUP_FORMAT, Keys};
pub use kek::{Damaged, Fresh, Kek};
pub use recovery::{InvalidRecoveryKey, RecoveryKey};

#[cfg(test)]
mod tests;
#[cfg(test)]
use backup::hash as backup_hash;
