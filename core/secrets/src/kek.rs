//! The cluster's key-encryption key, and values under it.

use crate::aead::{Sealed, decrypt, encrypt, seal, unseal};
use ring::digest::{SHA256, digest};
use taffeta_model::{ClusterId, Envelope, Secret, SecretName};
use thiserror::Error;
use zeroize::Zeroizing;

/// A key is used for one value only, so its one nonce may be anything.
const ONLY: [u8; 12] = [0; 12];

/// Wraps the keys of secrets. Made at the cluster's birth; whoever has it and the log can read all secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Kek(Zeroizing<[u8; 32]>);

/// What the encryption of one value needs of fresh randomness.
pub struct Fresh {
    /// The value's own key.
    pub key: [u8; 32],
    /// For its wrapping.
    pub nonce: [u8; 12],
}

/// It does not open: damaged, of another cluster, name or version, or under another key. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not open with this key: it is damaged, or belongs elsewhere")]
pub struct Damaged;

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kek(hidden)")
    }
}

impl Kek {
    /// The key of these bytes, which are random.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// What it is known by: a hash that says nothing of the key.
    pub fn hash(&self) -> [u8; 32] {
        let hash = digest(&SHA256, &[b"taffeta kek 1".as_slice(), self.0.as_slice()].concat());
        hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The key itself, as a message to another voter over mutual TLS, or for a backup.
    pub fn export(&self) -> [u8; 32] {
        *self.0
    }

    /// Encrypts one version of a secret.
    pub fn encrypt(
        &self,
        cluster: ClusterId,
        (name, version): (&SecretName, u64),
        value: &Secret,
        fresh: &Fresh,
    ) -> Envelope {
        let wrapped = seal(&self.0, fresh.nonce, &bound("taffeta secret key 1", cluster, name, version), &fresh.key);
        Envelope {
            wrapped: postcard::to_stdvec(&wrapped).expect("bytes can be encoded"),
            sealed: encrypt(&fresh.key, ONLY, &bound("taffeta secret 1", cluster, name, version), value.expose()),
        }
    }

    /// Decrypts what [`Kek::encrypt`] gave for the same cluster, name and version.
    pub fn decrypt(
        &self,
        cluster: ClusterId,
        (name, version): (&SecretName, u64),
        envelope: &Envelope,
    ) -> Result<Secret, Damaged> {
        let wrapped: Sealed = postcard::from_bytes(&envelope.wrapped).map_err(|_| Damaged)?;
        let key = unseal(&self.0, &bound("taffeta secret key 1", cluster, name, version), &wrapped)?;
        let key = Zeroizing::new(<[u8; 32]>::try_from(key).map_err(|_| Damaged)?);
        decrypt(&key, ONLY, &bound("taffeta secret 1", cluster, name, version), &envelope.sealed).map(Secret::new)
    }
}

/// An envelope is good for one place alone: it cannot be put under another name, version or cluster.
fn bound(purpose: &str, cluster: ClusterId, name: &SecretName, version: u64) -> Vec<u8> {
    postcard::to_stdvec(&(purpose, cluster, name, version)).expect("plain data can be encoded")
}
