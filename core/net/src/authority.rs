//! The cluster's own certificate authority. Every voter holds its key, sealed on disk under the node's own.

use crate::{
    key::{NodeKey, PublicKey, sha256},
    tls::{server_name, spiffe_id},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use ring::aead;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use taffeta_model::{ClusterId, UnixMillis};
use thiserror::Error;
use time::OffsetDateTime;

/// Ten years, unless it is rotated: an operator's act.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// As many CAs may stand between one and a node's certificate: those that followed it, each signed by the one before. A node
/// shows so many cross certificates.
pub const CROSSES_MAX: u8 = 4;
/// How far the clock of a machine may be behind ours. A machine without a battery for its clock, or one whose time servers
/// were out of reach, is off by more than hours; a date before which a certificate is not valid protects nobody.
const CLOCK_SKEW: Duration = Duration::from_secs(30 * 86_400);

/// How long certificates live, and what is granted after their end. An internal setting: all of a cluster use the same,
/// and only tests use any but the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Life of a node's certificate, at least 3 s (a certificate's dates are whole seconds); it is renewed at two thirds.
    pub certificate: Duration,
    /// For how long after its certificate's end a member is heard on the lanes of the ring and the catalogue, when nobody
    /// could renew it.
    pub grace: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self { certificate: Duration::from_secs(24 * 3_600), grace: Duration::from_secs(7 * 24 * 3_600) }
    }
}

/// The CA: its key and its certificate.
#[derive(Clone)]
pub struct Authority {
    cluster: ClusterId,
    seed: [u8; 32],
    certificate: Vec<u8>,
}

/// An [`Authority`] as it lies on disk: encrypted (ChaCha20-Poly1305, RFC 8439) under a key that is derived from the
/// node's own, so that the file alone is worthless.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SealedAuthority {
    cluster: ClusterId,
    nonce: [u8; 12],
    sealed: Vec<u8>,
    certificate: Vec<u8>,
}

/// Why a certificate could not be made or a sealed authority not be opened.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// The sealed authority is damaged or belongs to another node's key.
    #[error("the sealed CA key does not open with this node's key")]
    Seal,
    /// A certificate is not one of this node, of a CA that is believed, or has ended already.
    #[error("the certificate is not usable: another node's, of an unknown CA, or ended")]
    Unusable,
}

/// Lets a raw Ed25519 public key stand as the subject of a certificate.
struct Subject(PublicKey);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.cluster) // never the seed
    }
}

impl Authority {
    /// A new CA for a new cluster.
    pub fn create(cluster: ClusterId, seed: [u8; 32], now: UnixMillis) -> Result<Self, CertificateError> {
        let params = Self::params(cluster, seed, now, CROSSES_MAX)?;
        let certificate = params.self_signed(&key_pair(seed)?).map_err(CertificateError::Make)?;
        Ok(Self { cluster, seed, certificate: certificate.der().to_vec() })
    }

    /// Each CA of a cluster has a name of its own, which follows from its key.
    fn params(
        cluster: ClusterId,
        seed: [u8; 32],
        now: UnixMillis,
        below: u8,
    ) -> Result<CertificateParams, CertificateError> {
        let mut params = CertificateParams::new(vec![]).map_err(CertificateError::Make)?;
        let key = NodeKey::from_seed(seed).public().node_id();
        params.distinguished_name.push(DnType::CommonName, format!("taffeta {cluster} {key}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date(now.0.saturating_sub(millis(CLOCK_SKEW)));
        params.not_after = date(now.0 + millis(AUTHORITY_LIFE));
        Ok(params)
    }

    /// This CA's key and name, signed by another CA of the cluster: whoever believes only that one then believes what this
    /// one has signed. DER.
    pub fn cross_signed_by(&self, other: &Self, now: UnixMillis) -> Result<Vec<u8>, CertificateError> {
        let subject = Subject(NodeKey::from_seed(self.seed).public());
        let params = Self::params(self.cluster, self.seed, now, CROSSES_MAX)?;
        let certificate = params.signed_by(&subject, &other.issuer(now)?).map_err(CertificateError::Make)?;
        Ok(certificate.der().to_vec())
    }

    fn issuer(&self, now: UnixMillis) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        Ok(Issuer::new(Self::params(self.cluster, self.seed, now, CROSSES_MAX)?, key_pair(self.seed)?))
    }

    /// The CA certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// SHA-256 of the CA certificate: what tokens pin.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.certificate)
    }

    /// Signs a message with the CA's key.
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        NodeKey::from_seed(self.seed).sign(message)
    }

    /// A certificate for the node that has this key, DER. It names the node by one SPIFFE URI, by which nodes know one
    /// another, and by a DNS name for clients of encrypted DNS, who can check nothing else.
    pub fn certify(&self, subject: PublicKey, now: UnixMillis, life: Duration) -> Result<Vec<u8>, CertificateError> {
        let id = subject.node_id();
        let mut params = CertificateParams::new(vec![server_name(self.cluster, id)]).map_err(CertificateError::Make)?;
        let uri = spiffe_id(self.cluster, id).try_into().map_err(CertificateError::Make)?;
        params.subject_alt_names.push(SanType::URI(uri));
        self.sign(params, subject, now, life)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        subject: PublicKey,
        now: UnixMillis,
        life: Duration,
    ) -> Result<Vec<u8>, CertificateError> {
        params.distinguished_name.push(DnType::CommonName, subject.node_id().to_string());
        params.not_before = date(now.0.saturating_sub(millis(CLOCK_SKEW)));
        params.not_after = date(now.0.saturating_add(millis(life)));
        let certificate = params.signed_by(&Subject(subject), &self.issuer(now)?).map_err(CertificateError::Make)?;
        Ok(certificate.der().to_vec())
    }

    /// A certificate with any names in it, as a test needs it.
    #[cfg(test)]
    pub(crate) fn certify_named(&self, subject: PublicKey, names: Vec<SanType>, now: UnixMillis) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![]).expect("no names are fine");
        params.subject_alt_names = names;
        self.sign(params, subject, now, Lives::default().certificate).expect("it can be signed")
    }

    /// Encrypts the CA under the node's key. `nonce` must be fresh randomness.
    pub fn seal(&self, key: &NodeKey, nonce: [u8; 12]) -> SealedAuthority {
        let mut sealed = self.seed.to_vec();
        sealing_key(key)
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                bound(self.cluster, &self.certificate),
                &mut sealed,
            )
            .expect("32 bytes can be sealed");
        SealedAuthority { cluster: self.cluster, nonce, sealed, certificate: self.certificate.clone() }
    }

    /// The CA's key and certificate as one message to a voter, over mutual TLS only.
    pub fn export(&self) -> ([u8; 32], Vec<u8>) {
        (self.seed, self.certificate.clone())
    }

    /// The reverse of [`Authority::export`].
    pub fn import(cluster: ClusterId, (seed, certificate): ([u8; 32], Vec<u8>)) -> Self {
        Self { cluster, seed, certificate }
    }
}

/// Whether the CA with this certificate (DER) has signed the message.
pub fn signed_by_authority(certificate: &[u8], message: &[u8], signature: &[u8]) -> bool {
    authority_key(certificate).is_some_and(|key| key.verify(message, signature))
}

/// The key of the CA with this certificate (DER).
pub(crate) fn authority_key(certificate: &[u8]) -> Option<PublicKey> {
    let certificate = CertificateDer::from(certificate);
    let parsed = webpki::EndEntityCert::try_from(&certificate).ok()?;
    PublicKey::from_spki(&parsed.subject_public_key_info())
}

impl SealedAuthority {
    /// Decrypts the CA with the node's key.
    pub fn open(mut self, key: &NodeKey) -> Result<Authority, CertificateError> {
        let nonce = aead::Nonce::assume_unique_for_key(self.nonce);
        let aad = bound(self.cluster, &self.certificate);
        let seed = sealing_key(key).open_in_place(nonce, aad, &mut self.sealed).map_err(|_| CertificateError::Seal)?;
        let seed = <[u8; 32]>::try_from(&*seed).map_err(|_| CertificateError::Seal)?;
        Ok(Authority { cluster: self.cluster, seed, certificate: self.certificate })
    }
}

fn sealing_key(key: &NodeKey) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &key.derive("ca-seal")).expect("the key has 32 bytes");
    aead::LessSafeKey::new(key)
}

/// What lies beside the sealed key in the clear must be what it was sealed with.
fn bound(cluster: ClusterId, certificate: &[u8]) -> aead::Aad<Vec<u8>> {
    aead::Aad::from([&cluster.0.to_be_bytes()[..], &sha256(certificate)].concat())
}

fn key_pair(seed: [u8; 32]) -> Result<KeyPair, CertificateError> {
    let der = PrivatePkcs8KeyDer::from(NodeKey::from_seed(seed).pkcs8());
    KeyPair::try_from(&der).map_err(CertificateError::Make)
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn date(millis: u64) -> OffsetDateTime {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
