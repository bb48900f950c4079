//! The recovery key: X25519 (RFC 7748). The cluster knows the public half only.

use crate::{
    aead::{decrypt, encrypt},
    kek::Damaged,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hkdf::{HKDF_SHA256, Salt};
use std::str::FromStr;
use taffeta_model::ClusterId;
use thiserror::Error;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// Begins the key as text; the number is the version of what follows.
const PREFIX: &str = "taffeta-recovery-1-";

/// The private half.
pub struct RecoveryKey(StaticSecret);

/// The text is no recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is no recovery key: expected a line that begins with {PREFIX}, as in DATA/recovery.key of the first node")]
pub struct InvalidRecoveryKey;

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKey(hidden)")
    }
}

impl RecoveryKey {
    /// The key of these bytes, which are random.
    pub fn new(random: [u8; 32]) -> Self {
        Self(StaticSecret::from(random))
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The file that is written once, for an operator to take away.
    pub fn file(&self, cluster: ClusterId) -> String {
        let key = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_bytes()));
        format!(
            "# Recovery key of the fabric {cluster}: a restore from a backup needs it.\n\
             # Move it to a safe place, away from this machine and from the backups. No node needs it.\n\
             {PREFIX}{}\n",
            key.as_str()
        )
    }

    /// Encrypts to a public half. `ephemeral` is fresh randomness, used for this alone.
    pub fn seal_to(public: &[u8; 32], ephemeral: [u8; 32], bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let ephemeral = StaticSecret::from(ephemeral);
        let sender = PublicKey::from(&ephemeral).to_bytes();
        let key = key_of(&ephemeral.diffie_hellman(&PublicKey::from(*public)), &sender, public);
        [sender.to_vec(), encrypt(&key, [0; 12], bound, plain)].concat()
    }

    /// Decrypts what [`RecoveryKey::seal_to`] gave.
    pub fn unseal(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Damaged> {
        let (sender, text) = sealed.split_first_chunk::<32>().ok_or(Damaged)?;
        let shared = self.0.diffie_hellman(&PublicKey::from(*sender));
        if !shared.was_contributory() {
            return Err(Damaged);
        }
        decrypt(&key_of(&shared, sender, &self.public()), [0; 12], bound, text)
    }
}

/// HKDF-SHA256 (RFC 5869) of what both sides know. Used once, so its nonce may be anything.
fn key_of(shared: &SharedSecret, sender: &[u8; 32], receiver: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let pseudo_random = Salt::new(HKDF_SHA256, b"taffeta recovery 1").extract(shared.as_bytes());
    let mut key = Zeroizing::new([0; 32]);
    let info = [sender.as_slice(), receiver.as_slice()];
    pseudo_random.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(key.as_mut())).expect("32 bytes can be expanded");
    key
}

impl FromStr for RecoveryKey {
    type Err = InvalidRecoveryKey;

    /// Reads the file, or its last line alone.
    fn from_str(text: &str) -> Result<Self, InvalidRecoveryKey> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(InvalidRecoveryKey) };
        let key = line.strip_prefix(PREFIX).ok_or(InvalidRecoveryKey)?;
        let key = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).map_err(|_| InvalidRecoveryKey)?);
        Ok(Self::new(key.as_slice().try_into().map_err(|_| InvalidRecoveryKey)?))
    }
}
