//! From the identities of two nodes to the key of one session in one direction.

use super::{HEADER_BYTES, Session, TAG_BYTES};
use crate::key::{NodeKey, PublicKey};
use bytes::Bytes;
use ring::{aead, hkdf};
use taffeta_model::ClusterId;

/// Tells these keys from all others that could be drawn from the same secret.
const CONTEXT: &[u8] = b"taffeta sealed datagrams v1";

/// Our side of every agreement.
pub(super) struct Agreement {
    secret: [u8; 32],
    public: PublicKey,
    salt: hkdf::Salt,
}

/// The secret that we share with one peer in this cluster, 32 bytes.
#[derive(Clone, Copy)]
pub(super) struct Pair([u8; 32]);

/// Seals or opens the datagrams of one session in one direction.
#[derive(Clone, Copy)]
pub(super) struct SessionKey([u8; 32]);

impl Agreement {
    pub(super) fn new(cluster: ClusterId, key: &NodeKey) -> Self {
        let salt = [CONTEXT, &cluster.0.to_be_bytes()].concat();
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt);
        Self { secret: key.x25519_secret(), public: key.public(), salt }
    }

    pub(super) fn public(&self) -> PublicKey {
        self.public
    }

    /// `None` if the key is no point of the curve, or one of small order, with which everybody shares the same secret.
    pub(super) fn pair(&self, peer: &PublicKey) -> Option<Pair> {
        let shared = peer.x25519()?.mul_clamped(self.secret).to_bytes();
        (shared != [0; 32]).then(|| Pair(expand(&self.salt.extract(&shared), &[b"pair"])))
    }
}

impl Pair {
    pub(super) fn key_of(&self, sender: &PublicKey, receiver: &PublicKey, session: Session) -> SessionKey {
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.0);
        SessionKey(expand(&secret, &[&sender.0, &receiver.0, &session.start.to_be_bytes(), &session.random]))
    }
}

fn expand(secret: &hkdf::Prk, info: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 32];
    let drawn = secret.expand(info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
    drawn.expect("32 bytes are one block of HKDF-SHA256");
    key
}

impl SessionKey {
    pub(super) fn seal(&self, counter: u64, header: [u8; HEADER_BYTES], packet: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEADER_BYTES + packet.len() + TAG_BYTES);
        datagram.extend_from_slice(&header);
        datagram.extend_from_slice(packet);
        let sealed = &mut datagram[HEADER_BYTES..];
        let tag = self.cipher().seal_in_place_separate_tag(nonce(counter), aead::Aad::from(header), sealed);
        datagram.extend_from_slice(tag.expect("a packet is short enough to be sealed").as_ref());
        datagram
    }

    pub(super) fn open(&self, counter: u64, header: &[u8], sealed: &[u8]) -> Option<Bytes> {
        let mut packet = sealed.to_vec();
        let bytes = self.cipher().open_in_place(nonce(counter), aead::Aad::from(header), &mut packet).ok()?.len();
        packet.truncate(bytes);
        Some(packet.into())
    }

    /// Built for each datagram: it is a copy of 32 bytes, while the library's form has half a kilobyte for each peer.
    fn cipher(&self) -> aead::LessSafeKey {
        aead::LessSafeKey::new(aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &self.0).expect("the key has 32 bytes"))
    }
}

fn nonce(counter: u64) -> aead::Nonce {
    let mut nonce = [0; aead::NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    aead::Nonce::assume_unique_for_key(nonce)
}
