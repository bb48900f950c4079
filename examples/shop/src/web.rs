//! The service `web`: the front page, which asks the other two services on every request.

use crate::{
    call::{Answered, CallError, call, chain},
    inventory::StockReply,
    order::Dice,
    orders::OrdersReply,
    page, print_line,
    reply::{health, refuse},
    resolver::Resolver,
    settings::{Instance, Settings},
};
use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use std::sync::Arc;

/// What one request found: shown as a page or as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// Who answers the browser.
    pub(crate) web: Instance,
    /// What `orders` said.
    pub(crate) orders: Answered<OrdersReply>,
    /// What `inventory` said.
    pub(crate) inventory: Answered<StockReply>,
}

/// A service that could not be asked, and why in words.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Name of the service.
    pub(crate) service: &'static str,
    /// Why.
    pub(crate) reason: String,
}

struct Web {
    instance: Instance,
    resolver: Resolver,
    dice: Dice,
    /// What follows the service in a name: `shop.fabric.internal`.
    suffix: String,
}

/// `/`, `/api` and `/health`. Fails if there is no DNS server to ask.
pub(crate) fn router(settings: Settings, dice: Dice) -> anyhow::Result<Router> {
    let dns = settings.dns.context(
        "TAFFETA_DNS is not set, so `web` cannot find the other services; a task has it from its node, by hand say \
         TAFFETA_DNS=127.0.0.1:7453",
    )?;
    let web = Arc::new(Web {
        instance: settings.instance,
        resolver: Resolver::new(dns),
        dice,
        suffix: format!("{}.{}", settings.app, settings.domain),
    });
    Ok(Router::new().route("/", get(front)).route("/api", get(api)).route("/health", get(health)).with_state(web))
}

impl Web {
    /// Asks both services at the same time.
    async fn look(&self) -> Result<View, Vec<Failed>> {
        let name = |service| format!("_http._tcp.{service}.{}", self.suffix);
        let (orders, inventory) = (name("orders"), name("inventory"));
        let (orders, inventory) = tokio::join!(
            call(&self.resolver, &self.dice, &orders, "/orders"),
            call(&self.resolver, &self.dice, &inventory, "/stock"),
        );
        match (orders, inventory) {
            (Ok(orders), Ok(inventory)) => Ok(View { web: self.instance.clone(), orders, inventory }),
            (orders, inventory) => {
                let failed: Vec<Failed> = [failure("orders", orders.err()), failure("inventory", inventory.err())]
                    .into_iter()
                    .flatten()
                    .collect();
                failed.iter().for_each(|f| print_line(&format!("web: {}: {}", f.service, f.reason)));
                Err(failed)
            }
        }
    }
}

fn failure(service: &'static str, error: Option<CallError>) -> Option<Failed> {
    error.map(|e| Failed { service, reason: chain(&e) })
}

async fn front(State(web): State<Arc<Web>>) -> Response {
    match web.look().await {
        Ok(view) => Html(page::shop(&view)).into_response(),
        Err(failed) => (StatusCode::BAD_GATEWAY, Html(page::sorry(&web.instance, &failed))).into_response(),
    }
}

async fn api(State(web): State<Arc<Web>>) -> Response {
    match web.look().await {
        Ok(view) => Json(view).into_response(),
        Err(failed) => {
            let said: Vec<String> = failed.iter().map(|f| format!("{}: {}", f.service, f.reason)).collect();
            let help = "`taffeta ps shop` shows which instances are healthy, `taffeta resolve NAME SRV` what DNS says";
            let field = failed.first().map(|f| f.service);
            refuse(StatusCode::BAD_GATEWAY, "dependency_failed", said.join("; "), help, field)
        }
    }
}
