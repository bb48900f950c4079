//! A task's working folder: a list, or a file as it is.

use super::body::{Segments, parse_query};
use super::read::parse_task;
use super::refusal::Refusal;
use super::server::Shared;
use crate::api::{ApiError, ErrorBody, ErrorCode, FileView, FolderView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::stream;
use hyper::Uri;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use std::sync::Arc;
use taffeta_isolation_plan::{FileAsk, FilePiece, FileTold};
use taffeta_model::TaskId;

/// Bytes that are fetched at once: what this node and the one that has the file hold of it.
const PIECE_BYTES: u32 = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesQuery {
    #[serde(default)]
    path: String,
}

/// What is in a task's working folder: of a folder a list as JSON, of a file its bytes. Nothing outside of the folder is shown,
/// but for the volumes that are linked into it. `X-Taffeta-Kind` says which of the two it is.
#[utoipa::path(get, path = "/v1/files/{app}/{task}",
    params(("app" = String, Path, description = "`shop`"), ("task" = String, Path, description = "`web.2`"),
        ("path" = Option<String>, Query, description = "Below the working folder; that itself by default")),
    responses((status = 200, body = FolderView,
        headers(("X-Taffeta-Kind" = String, description = "`folder`, or `file` for a body of bytes"))),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Segments((app, task)): Segments<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let task = parse_task(&app, &task)?;
    let FilesQuery { path } = parse_query(&uri)?;
    let ask = FileAsk { path, offset: 0, bytes_max: PIECE_BYTES };
    match shared.backend.files(task.clone(), ask.clone()).await? {
        FileTold::Folder { entries, more } => {
            let entries = entries.into_iter().map(FileView::from).collect();
            Ok(([("x-taffeta-kind", "folder")], Json(FolderView { path: ask.path, entries, more })).into_response())
        }
        FileTold::Piece(first) => {
            let reader = Reader { shared, task, ask, identity: first.identity, ready: Some(first) };
            let body = stream::unfold(Some(reader), |reader| async move {
                let mut reader = reader?;
                match reader.next_piece().await {
                    Ok(bytes) if bytes.is_empty() => None,
                    Ok(bytes) => Some((Ok(bytes), Some(reader))),
                    // The status is long sent: breaking the body off says that this is not all.
                    Err(e) => Some((Err(e), None)),
                }
            });
            let kind = [("x-taffeta-kind", "file"), (CONTENT_TYPE.as_str(), "application/octet-stream")];
            Ok((kind, Body::from_stream(body)).into_response())
        }
    }
}

/// One client's place in a file.
struct Reader {
    shared: Arc<Shared>,
    task: TaskId,
    ask: FileAsk,
    identity: u64,
    ready: Option<FilePiece>,
}

impl Reader {
    async fn next_piece(&mut self) -> Result<Vec<u8>, ApiError> {
        let piece = match self.ready.take() {
            Some(piece) => piece,
            None => match self.shared.backend.files(self.task.clone(), self.ask.clone()).await? {
                FileTold::Piece(piece) if piece.identity == self.identity => piece,
                FileTold::Piece(_) | FileTold::Folder { .. } => {
                    return Err(ApiError::new(ErrorCode::Failed, "another file was put in its place meanwhile"));
                }
            },
        };
        self.ask.offset += piece.bytes.len() as u64;
        Ok(piece.bytes)
    }
}
