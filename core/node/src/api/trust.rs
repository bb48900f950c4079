//! JSON documents of what only some may have, as CONTRACT names their fields: join tokens, the cluster's CAs, secrets
//! without their values.
//!
//! Left out: who may ask for them, which is `http`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A wish for a join token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `node`.
    #[serde(default)]
    pub role: Option<String>,
    /// Seconds until it ends; 3600 by default.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
    /// How often it may be used; any number by default.
    #[serde(default)]
    pub uses: Option<u32>,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// The token: shown once, never stored.
    pub token: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
}

/// A join token as it is listed: the secret is stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenEntry {
    /// 16 hexadecimal digits: its public half.
    pub id: String,
    /// What whoever holds it may become: `node`.
    pub role: String,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
    /// How often it may still be used; `null` for any number of times.
    pub uses_left: Option<u32>,
    /// How often it was used.
    pub used: u32,
    /// When it was minted, RFC 3339 in UTC.
    pub created_at: String,
}

/// The CAs of the cluster, as the answering node believes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthoritiesView {
    /// One, and two while the CA is rotated; the one that signs last.
    pub authorities: Vec<AuthorityView>,
    /// Whether a rotation is under way.
    pub rotating: bool,
    /// Names of members that are not known to have a certificate of the CA that signs.
    pub waiting: Vec<String>,
    /// Name of the answering node.
    pub node: String,
    /// When its own certificate ends, RFC 3339 in UTC: it is renewed at two thirds of its life.
    pub certificate_expires_at: String,
}

/// A CA of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityView {
    /// SHA-256 of its certificate, 64 hexadecimal digits: what join tokens pin.
    pub hash: String,
    /// Begin of the rotation that brought it, RFC 3339 in UTC; `null` for the cluster's first before any rotation.
    pub since: Option<String>,
    /// Whether it signs; one that does not is still believed.
    pub signs: bool,
}

/// Wants the former CA believed no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishRequest {
    /// Even if members have no certificate of the new CA yet, who then have to join anew.
    #[serde(default)]
    pub force: bool,
}

/// A secret, without its value, which nobody is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// The newest version, from 1.
    pub version: u64,
    /// Bytes of the value.
    pub bytes: u32,
    /// When it was set, RFC 3339.
    pub changed: String,
    /// The jobs whose tasks get it.
    pub used_by: Vec<SecretUser>,
}

/// A job whose tasks get a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUser {
    /// The app.
    pub app: String,
    /// The service or batch job.
    pub service: String,
    /// The version that its tasks get; an older one until it is restarted.
    pub version: u64,
}
