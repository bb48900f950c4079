//! What a certificate proves: which node shows it, and until when.

use crate::{key::PublicKey, tls::spiffe_id};
use rustls::{
    CertificateError, Error, OtherError,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
};
use std::{fmt, sync::Arc, time::Duration};
use taffeta_model::{ClusterId, NodeId, UnixMillis};
use webpki::{EndEntityCert, KeyUsage};

/// A node as its certificate names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    pub(crate) node: NodeId,
    /// When the certificate ends.
    pub(crate) ends: UnixMillis,
}

/// The certificate is one of a CA that is believed, but it does not name one node of this cluster.
#[derive(Debug)]
struct NotANode;

impl fmt::Display for NotANode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate does not name one node of this cluster by a SPIFFE URI")
    }
}

impl std::error::Error for NotANode {}

impl Certified {
    /// Verifies a chain up to one of the CAs. A certificate that has ended is judged as of its last moment: what its node
    /// may still do is decided call by call, and to be renewed is among it. Gives also the key of the CA that has signed the
    /// certificate, if it is of the kind that we use.
    pub(crate) fn verify(
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        provider: &CryptoProvider,
        cluster: ClusterId,
        now: UnixMillis,
    ) -> Result<(Self, Option<PublicKey>), Error> {
        let certified = Self::read(certificate, cluster)?;
        let end_entity = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let algorithms = provider.signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now.min(certified.ends).0));
        // Node certificates are for both sides and name no usage, so that either one fits.
        let verified =
            end_entity.verify_for_usage(algorithms, anchors, others, at, KeyUsage::server_auth(), None, None);
        let path = verified.map_err(refused)?;
        Ok((certified, PublicKey::from_spki(&path.issuer_spki())))
    }

    /// Reads who is named, which is worth nothing unless the chain has been verified. There must be exactly one URI among
    /// the alternative names (SPIFFE X.509-SVID, section 2), and it must follow from the certificate's own key.
    pub(crate) fn read(certificate: &CertificateDer<'_>, cluster: ClusterId) -> Result<Self, Error> {
        let ends = ends(certificate).ok_or(CertificateError::BadEncoding)?;
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let not_a_node = || Error::from(CertificateError::Other(OtherError(Arc::new(NotANode))));
        let key = PublicKey::from_spki(&parsed.subject_public_key_info()).ok_or_else(not_a_node)?;
        let mut uris = parsed.valid_uri_names();
        let (first, second) = (uris.next(), uris.next());
        let node = key.node_id();
        if first != Some(spiffe_id(cluster, node).as_str()) || second.is_some() {
            return Err(not_a_node());
        }
        Ok(Self { node, ends })
    }
}

/// When a certificate ends. The library tells it of certificates that it refuses because they have ended, which in the
/// farthest future is every one; and it looks at dates before signatures.
pub(crate) fn ends(certificate: &[u8]) -> Option<UnixMillis> {
    let der = CertificateDer::from(certificate);
    let parsed = EndEntityCert::try_from(&der).ok()?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match parsed.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(UnixMillis(not_after.as_secs().saturating_mul(1000))),
        Err(_) | Ok(_) => None,
    }
}

fn refused(error: webpki::Error) -> Error {
    match error {
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        other => CertificateError::Other(OtherError(Arc::new(other))).into(), // the library may add to them
    }
}
