//! The API's own description.

use super::{chaos, events, exec, files, logs, page, quotas, read, secrets, steer, upkeep, write};
use crate::api::ErrorBody;
use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Taffeta", description = "The API of a node. Every node answers every verb and passes on to the \
        leader what only the leader can do. Errors are always an ErrorBody."),
    paths(
        show, read::health, read::metrics, read::status, read::leader, read::nodes, read::apps, read::ps,
        read::services, read::why, read::resolve, read::zone, logs::show, exec::run, files::show, events::show, write::deploy, write::plan, write::stop,
        write::scale, write::restart, steer::rollback, steer::pause, steer::resume, steer::promote, steer::run, write::create_token, read::tokens, write::revoke_token,
        upkeep::volumes, upkeep::reset, upkeep::remove, upkeep::windows, upkeep::add_window, upkeep::end_windows,
        write::remove_node, write::drain_node, quotas::list, quotas::set, quotas::remove, read::authorities, write::rotate_authority, write::finish_rotation, page::show, page::login::take_login,
        secrets::list, secrets::set, secrets::remove, secrets::backup,
        chaos::show, chaos::begin, chaos::end, chaos::stop, chaos::allow,
    ),
    components(schemas(ErrorBody)),
    security(("token" = [])),
    modifiers(&BearerToken),
)]
pub(super) struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
