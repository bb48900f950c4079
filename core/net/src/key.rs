//! A node's key: Ed25519, made from a 32-byte seed. The node's id is bound to it.

use curve25519_dalek::{MontgomeryPoint, edwards::CompressedEdwardsY};
use ring::{
    digest,
    signature::{self, Ed25519KeyPair, KeyPair},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use taffeta_model::NodeId;

/// PKCS#8 v1 header of an Ed25519 private key (RFC 8410, section 7); the seed follows.
const PKCS8_HEADER: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Length of an Ed25519 SubjectPublicKeyInfo before the key itself (RFC 8410, section 4).
const SPKI_HEADER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

/// A node's private key.
pub struct NodeKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey({})", self.public().node_id()) // never the seed
    }
}

impl NodeKey {
    /// The key of a seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes are an Ed25519 seed");
        Self { seed, pair }
    }

    /// The seed, to be stored with mode 0600.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }

    /// A 32-byte key for one purpose, derived from the seed: for sealing what lies beside it on disk.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        sha256(&[&self.seed[..], b"/taffeta/", purpose.as_bytes()].concat())
    }

    /// The scalar behind the public key, not yet clamped (RFC 8032, section 5.1.5): the X25519 secret of the same identity.
    pub(crate) fn x25519_secret(&self) -> [u8; 32] {
        let hash = digest::digest(&digest::SHA512, &self.seed);
        hash.as_ref()[..32].try_into().expect("half of 64 bytes")
    }

    /// The key as TLS takes it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8()).into()
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        [&PKCS8_HEADER[..], &self.seed].concat()
    }
}

impl PublicKey {
    /// The id of the node that has this key: the first 8 bytes of the key's SHA-256.
    pub fn node_id(&self) -> NodeId {
        let hash = sha256(&self.0);
        NodeId(u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes")))
    }

    /// Whether the signature is this key's over the message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature::UnparsedPublicKey::new(&signature::ED25519, &self.0).verify(message, signature).is_ok()
    }

    /// The X25519 public key of the same identity (RFC 7748, section 4.1). `None` if this is no point of the curve.
    pub(crate) fn x25519(&self) -> Option<MontgomeryPoint> {
        Some(CompressedEdwardsY(self.0).decompress()?.to_montgomery())
    }

    /// Takes the key out of a DER SubjectPublicKeyInfo.
    pub(crate) fn from_spki(der: &[u8]) -> Option<Self> {
        let raw = der.strip_prefix(&SPKI_HEADER[..])?;
        Some(Self(raw.try_into().ok()?))
    }
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests;
