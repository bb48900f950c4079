//! ChaCha20-Poly1305 (RFC 8439), with what it is bound to.

use crate::kek::Damaged;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// Something encrypted under a key that is used more than once, with the nonce that it was encrypted with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    nonce: [u8; NONCE_LEN],
    text: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.text.len())
    }
}

/// Encrypts under a key; `nonce` must be fresh randomness. What it is `bound` to must be given again to open it.
pub fn seal(key: &[u8; 32], nonce: [u8; NONCE_LEN], bound: &[u8], plain: &[u8]) -> Sealed {
    Sealed { nonce, text: encrypt(key, nonce, bound, plain) }
}

/// Decrypts what [`seal`] gave.
pub fn unseal(key: &[u8; 32], bound: &[u8], sealed: &Sealed) -> Result<Vec<u8>, Damaged> {
    decrypt(key, sealed.nonce, bound, &sealed.text)
}

pub(crate) fn encrypt(key: &[u8; 32], nonce: [u8; NONCE_LEN], bound: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut text = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key).seal_in_place_append_tag(nonce, Aad::from(bound), &mut text).expect("far shorter than 256 GiB");
    text
}

pub(crate) fn decrypt(key: &[u8; 32], nonce: [u8; NONCE_LEN], bound: &[u8], text: &[u8]) -> Result<Vec<u8>, Damaged> {
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = cipher(key).open_in_place(nonce, Aad::from(bound), &mut text).map_err(|_| Damaged)?.len();
    text.truncate(length);
    Ok(text)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"))
}
