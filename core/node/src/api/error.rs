//! One shape for every refusal: what, where, and what to do.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What kind of refusal it is. Decides the HTTP status and the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request or file is wrong: 400, exit 2.
    Invalid,
    /// No or a wrong bearer token: 401, exit 3.
    Unauthorized,
    /// Not allowed: 403, exit 3.
    Forbidden,
    /// There is no such thing: 404, exit 1.
    NotFound,
    /// It conflicts with what is there: 409, exit 3.
    Conflict,
    /// No quorum or no leader: 503, exit 3.
    NoQuorum,
    /// The disk of the node that would have to write is full: 507, exit 3.
    DiskFull,
    /// It took too long: 504, exit 4.
    Timeout,
    /// It failed: 500, exit 1.
    Failed,
}

impl ErrorCode {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::NoQuorum => 503,
            Self::DiskFull => 507,
            Self::Timeout => 504,
            Self::Failed => 500,
        }
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotFound | Self::Failed => 1,
            Self::Invalid => 2,
            Self::Unauthorized | Self::Forbidden | Self::Conflict | Self::NoQuorum | Self::DiskFull => 3,
            Self::Timeout => 4,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn may_pass(self) -> bool {
        match self {
            Self::NoQuorum | Self::DiskFull | Self::Timeout | Self::Failed => true,
            Self::Invalid | Self::Unauthorized | Self::Forbidden | Self::NotFound | Self::Conflict => false,
        }
    }
}

/// A refusal or failure. Nothing was changed unless the code is `timeout`, when it may have been.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ApiError {
    /// The kind.
    pub code: ErrorCode,
    /// What happened, in one sentence.
    pub message: String,
    /// What can be done about it.
    pub help: Option<String>,
    /// The field of the request or file that is wrong.
    pub field: Option<String>,
}

impl ApiError {
    /// A refusal of the given kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, field: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with the field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

/// Body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error inside of [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorDetail {
    /// The kind.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What can be done about it.
    pub help: Option<String>,
    /// The field that is wrong.
    pub field: Option<String>,
}

impl From<ApiError> for ErrorBody {
    fn from(e: ApiError) -> Self {
        Self { error: ErrorDetail { code: e.code, message: e.message, help: e.help, field: e.field } }
    }
}

impl From<ErrorBody> for ApiError {
    fn from(b: ErrorBody) -> Self {
        Self { code: b.error.code, message: b.error.message, help: b.error.help, field: b.error.field }
    }
}
