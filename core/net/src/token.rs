//! The join token: what a new machine needs to know and to show.

use crate::key::sha256;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use taffeta_model::{ClusterId, TokenId};
use thiserror::Error;

/// Marks a token and its version, so that a wrong string is told from an old token.
const PREFIX: &str = "taffeta1.";

/// Pins the cluster's CA, so that the joining machine talks to the right cluster, and carries a secret, so that the
/// cluster talks to an invited machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The cluster that minted it.
    pub cluster: ClusterId,
    /// SHA-256 of the DER of the CA certificate.
    pub ca_hash: [u8; 32],
    /// Public half.
    pub id: TokenId,
    /// Secret half; the cluster keeps only its hash.
    pub secret: [u8; 16],
}

/// Why a string is no token. Nothing was changed; copy the token again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidToken {
    /// It has not the form of one.
    #[error("this is not a join token: one begins with `{PREFIX}`")]
    NotAToken,
    /// It has, but a part is missing or changed.
    #[error("the join token is damaged: it was not copied whole")]
    Damaged,
}

impl JoinToken {
    /// What the cluster keeps of the secret.
    pub fn secret_hash(&self) -> [u8; 32] {
        sha256(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_stdvec(self).expect("a token is encodable");
        bytes.extend_from_slice(&sha256(&bytes)[..4]);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({} of {})", self.id, self.cluster) // never the secret
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;
    fn from_str(s: &str) -> Result<Self, InvalidToken> {
        let body = s.trim().strip_prefix(PREFIX).ok_or(InvalidToken::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| InvalidToken::Damaged)?;
        let (bytes, check) = bytes.split_last_chunk::<4>().ok_or(InvalidToken::Damaged)?;
        if sha256(bytes)[..4] != *check {
            return Err(InvalidToken::Damaged);
        }
        let (token, rest) = postcard::take_from_bytes(bytes).map_err(|_| InvalidToken::Damaged)?;
        if rest.is_empty() { Ok(token) } else { Err(InvalidToken::Damaged) }
    }
}

#[cfg(test)]
mod tests;
