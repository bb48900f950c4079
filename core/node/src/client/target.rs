//! Where a node is reached.

use crate::api::{ApiError, ErrorCode};
use hyper::Uri;
use std::fmt;
use std::path::PathBuf;

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiTarget {
    /// `http://HOST[:PORT]`; the port is 80 if it is left out, as in any URL.
    Http(String),
    /// The node's own socket, `DATA/api.sock`. Its path may have any length.
    Unix(PathBuf),
}

impl fmt::Display for ApiTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A checked target, ready to be connected to.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    /// `host` is without brackets; `authority` is for the `Host` header.
    Tcp { host: String, port: u16, authority: String },
    /// A socket file.
    Unix(PathBuf),
}

impl Endpoint {
    pub(super) fn parse(target: &ApiTarget) -> Result<Self, ApiError> {
        match target {
            ApiTarget::Unix(path) => Ok(Self::Unix(path.clone())),
            ApiTarget::Http(url) => parse_url(url),
        }
    }

    /// What the `Host` header says.
    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Tcp { authority, .. } => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

fn parse_url(url: &str) -> Result<Endpoint, ApiError> {
    let invalid = |why: &str, help: &str| {
        let message = format!("`{url}` cannot be used as the API's address: {why}");
        Err(ApiError::new(ErrorCode::Invalid, message).help(help).field("api"))
    };
    let spelling = "write it as http://HOST:PORT, as in http://127.0.0.1:7480";
    let Ok(uri) = url.parse::<Uri>() else {
        return invalid("it is not a URL", spelling);
    };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            let help = "write http://, or forward the port through ssh; the API itself has no TLS";
            return invalid("https is not spoken here", help);
        }
        Some(_) | None => return invalid("it does not begin with http://", spelling),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return invalid("it has a path", spelling);
    }
    let Some(authority) = uri.authority().filter(|a| !a.host().is_empty()) else {
        return invalid("it names no host", spelling);
    };
    if authority.as_str().contains('@') {
        return invalid("it holds a user name", "give the token by TAFFETA_TOKEN");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    // `host:` and a port above 65535 parse as a URL without a port.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") | None => 80,
        Some(rest) => match rest.strip_prefix(':').and_then(|p| p.parse().ok()) {
            Some(port) => port,
            None => return invalid("its port is not a number up to 65535", spelling),
        },
    };
    Ok(Endpoint::Tcp { host, port, authority: authority.as_str().to_owned() })
}
