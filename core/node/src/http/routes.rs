//! The table of routes. The router is made of it, and a test holds the OpenAPI document against it.

use super::refusal::{unknown_route, wrong_method};
use super::server::Shared;
use super::{chaos, events, exec, files, logs, openapi, page, quotas, read, secrets, steer, upkeep, write};
use axum::Router;
use axum::routing::{MethodRouter, delete, get, post, put};
use std::sync::Arc;

/// A method, a path and what answers it.
pub(super) struct Route {
    /// As in the OpenAPI document, in lower case.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the test of the OpenAPI document reads it"))]
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    handler: MethodRouter<Arc<Shared>>,
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let got = |path, handler| Route { method: "get", path, handler };
    let posted = |path, handler| Route { method: "post", path, handler };
    vec![
        got("/", get(page::show)),
        posted("/login", post(page::take_login)),
        got("/health", get(read::health)),
        got("/metrics", get(read::metrics)),
        got("/v1/openapi.json", get(openapi::show)),
        got("/v1/status", get(read::status)),
        got("/v1/leader", get(read::leader)),
        got("/v1/nodes", get(read::nodes)),
        got("/v1/apps", get(read::apps)),
        got("/v1/ps", get(read::ps)),
        got("/v1/services", get(read::services)),
        got("/v1/why/{app}/{task}", get(read::why)),
        got("/v1/dns", get(read::zone)),
        got("/v1/dns/{name}", get(read::resolve)),
        got("/v1/logs/{app}/{task}", get(logs::show)),
        got("/v1/exec/{app}/{task}", get(exec::run)),
        got("/v1/files/{app}/{task}", get(files::show)),
        got("/v1/events", get(events::show)),
        posted("/v1/apps", post(write::deploy)),
        posted("/v1/plan", post(write::plan)),
        Route { method: "delete", path: "/v1/apps/{app}", handler: delete(write::stop) },
        posted("/v1/apps/{app}/scale", post(write::scale)),
        posted("/v1/apps/{app}/restart", post(write::restart)),
        posted("/v1/apps/{app}/rollback", post(steer::rollback)),
        posted("/v1/apps/{app}/pause", post(steer::pause)),
        posted("/v1/apps/{app}/resume", post(steer::resume)),
        posted("/v1/apps/{app}/promote", post(steer::promote)),
        posted("/v1/apps/{app}/run", post(steer::run)),
        got("/v1/tokens", get(read::tokens)),
        posted("/v1/tokens", post(write::create_token)),
        Route { method: "delete", path: "/v1/tokens/{id}", handler: delete(write::revoke_token) },
        Route { method: "delete", path: "/v1/nodes/{node}", handler: delete(write::remove_node) },
        posted("/v1/nodes/{node}/drain", post(write::drain_node)),
        got("/v1/maintenance", get(upkeep::windows)),
        posted("/v1/nodes/{node}/maintenance", post(upkeep::add_window)),
        Route { method: "delete", path: "/v1/nodes/{node}/maintenance", handler: delete(upkeep::end_windows) },
        got("/v1/volumes", get(upkeep::volumes)),
        posted("/v1/volumes/{app}/{task}/reset", post(upkeep::reset)),
        Route { method: "delete", path: "/v1/volumes/{app}/{task}", handler: delete(upkeep::remove) },
        got("/v1/quotas", get(quotas::list)),
        Route { method: "put", path: "/v1/quotas/{team}", handler: put(quotas::set) },
        Route { method: "delete", path: "/v1/quotas/{team}", handler: delete(quotas::remove) },
        got("/v1/ca", get(read::authorities)),
        posted("/v1/ca/rotate", post(write::rotate_authority)),
        posted("/v1/ca/finish", post(write::finish_rotation)),
        got("/v1/secrets", get(secrets::list)),
        Route { method: "put", path: "/v1/secrets/{name}", handler: put(secrets::set) },
        Route { method: "delete", path: "/v1/secrets/{name}", handler: delete(secrets::remove) },
        posted("/v1/backup", post(secrets::backup)),
        got("/v1/chaos", get(chaos::show)),
        posted("/v1/chaos/faults", post(chaos::begin)),
        Route { method: "delete", path: "/v1/chaos/faults/{id}", handler: delete(chaos::end) },
        posted("/v1/chaos/stop", post(chaos::stop)),
        posted("/v1/chaos/allow", post(chaos::allow)),
    ]
}

/// The router, of requests that [`super::access::guard`] has let in.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let empty = Router::new();
    let all = routes().into_iter().fold(empty, |router, route| router.route(route.path, route.handler));
    all.method_not_allowed_fallback(wrong_method).fallback(unknown_route).with_state(shared)
}
