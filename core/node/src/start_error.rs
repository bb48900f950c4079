//! Why a node did not start, in words that say what to do.

use crate::{api::ErrorCode, folder::FolderError};
use std::{io, net::SocketAddr};
use taffeta_store::{OpenError, WAY_BACK};
use thiserror::Error;

/// Why a node did not start. What the data folder held before is unchanged.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct StartError {
    /// The kind; gives the exit code.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What can be done.
    pub help: Option<String>,
}

impl StartError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A failure with all its causes in one line.
    pub(crate) fn failed(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message += &format!(": {inner}");
            cause = inner.source();
        }
        Self::new(ErrorCode::Failed, message)
    }

    pub(crate) fn damaged(name: &str) -> Self {
        Self::new(ErrorCode::Failed, format!("the file `{name}` in the data folder is damaged")).help(WAY_BACK)
    }
}

impl From<io::Error> for StartError {
    fn from(e: io::Error) -> Self {
        let failed = Self::new(ErrorCode::Failed, format!("the data folder cannot be used: {e}"));
        if e.kind() == io::ErrorKind::InvalidData { failed.help(WAY_BACK) } else { failed }
    }
}

/// Why the log did not open; with the way back, if it is damaged.
pub(crate) fn store_error(error: OpenError) -> StartError {
    let is_damaged = matches!(&error, OpenError::Disk(e) if e.kind() == io::ErrorKind::InvalidData);
    let failed = StartError::failed(error);
    if is_damaged { failed.help(WAY_BACK) } else { failed }
}

pub(crate) fn folder_error(error: FolderError) -> StartError {
    match error {
        FolderError::InUse(_) => {
            StartError::new(ErrorCode::Failed, error.to_string()).help("is a node running from it already?")
        }
        FolderError::Io(..) => StartError::failed(error).help("give another one: --data DIR"),
    }
}

pub(crate) fn cannot_bind(address: SocketAddr, what: &str, flag: &str, error: &io::Error) -> StartError {
    StartError::new(ErrorCode::Failed, format!("the {what} cannot listen on UDP {address}: {error}"))
        .help(format!("another process may use the port; choose another with {flag} IP:PORT"))
}

pub(crate) fn lacks(given: &str, missing: &str, help: &str) -> StartError {
    StartError::new(ErrorCode::Invalid, format!("{given} was given without {missing}")).help(help)
}
