//! Secrets: values that tasks need and nobody else may see. The replicated state holds them encrypted only.

use crate::UnixMillis;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::{collections::BTreeMap, fmt, str::FromStr};
use thiserror::Error;

/// Largest value in bytes: keys, passwords and certificates are smaller, and all of them travel in the log.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// Most secrets of a cluster.
pub const SECRETS_MAX: usize = 1_000;

/// Most bytes of all versions of all secrets together: each voter holds them in memory and ships them in snapshots.
pub const SECRETS_BYTES_MAX: usize = 8 << 20;

/// Most secrets of one job: all of them go to the task's process through one pipe.
pub const JOB_SECRETS_MAX: usize = 32;

/// Most bytes that encryption adds to a value, and most bytes of a wrapped key.
const ENVELOPE_BYTES_MAX: usize = 256;

/// Name of a secret. It names a file, too: 1 to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, not beginning with `.` or `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(SmolStr);

/// What is no name of a secret. Nothing was changed; give another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no name of a secret: use 1 to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, not beginning with `.` or `-`")]
pub struct InvalidSecretName(pub String);

impl SecretName {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSecretName> {
        let name = name.into();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let whole = (1..=63).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(fits);
        if whole { Ok(Self(name.into())) } else { Err(InvalidSecretName(name)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = InvalidSecretName;
    fn try_from(name: String) -> Result<Self, InvalidSecretName> {
        Self::new(name)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0.into()
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;
    fn from_str(name: &str) -> Result<Self, InvalidSecretName> {
        Self::new(name)
    }
}

/// A value in the clear. It is shown nowhere, and cannot be encoded by mistake: whoever sends it says so with
/// [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: Vec<u8>) -> Self {
        Self(value)
    }

    /// The value.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)") // its length, too, is nobody's business
    }
}

/// A value as it is replicated: encrypted under a key of its own, which is wrapped by the cluster's key-encryption key.
/// How is not known here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The wrapped key.
    pub wrapped: Vec<u8>,
    /// The encrypted value.
    pub sealed: Vec<u8>,
}

impl Envelope {
    /// Whether it can hold a value of an allowed size.
    pub fn fits(&self) -> bool {
        self.wrapped.len() <= ENVELOPE_BYTES_MAX && self.sealed.len() <= SECRET_BYTES_MAX + ENVELOPE_BYTES_MAX
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes)", self.sealed.len()) // ciphertext tells nobody anything
    }
}

/// One secret: its newest version, and the older ones that jobs still use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretState {
    /// The newest version.
    pub newest: u64,
    /// By version; never empty.
    pub versions: BTreeMap<u64, SecretVersion>,
}

/// One version of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// The value, encrypted.
    pub envelope: Envelope,
    /// Bytes of the value.
    pub bytes: u32,
    /// When it was set.
    pub changed: UnixMillis,
}

/// Which version of each of its secrets a task gets.
pub type SecretPins = BTreeMap<SecretName, u64>;
