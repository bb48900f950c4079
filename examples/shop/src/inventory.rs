//! The service `inventory`: what is in stock.

use crate::{reply::health, settings::Instance};
use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The shelves; the same in every instance.
const STOCK: [(&str, u32); 4] =
    [("taffeta, midnight blue", 120), ("taffeta, old rose", 64), ("organza ribbon", 310), ("silk thread", 950)];

/// Answer of `/stock`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StockReply {
    /// Who answered.
    #[serde(flatten)]
    pub(crate) instance: Instance,
    /// Number of times this instance was asked since it started: shows how requests spread.
    pub(crate) served: u64,
    /// The shelves.
    pub(crate) stock: Vec<Item>,
}

/// One shelf.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    /// What it is.
    pub(crate) item: String,
    /// How many there are.
    pub(crate) units: u32,
}

struct Inventory {
    instance: Instance,
    served: AtomicU64,
}

/// `/stock` and `/health`.
pub(crate) fn router(instance: Instance) -> Router {
    let inventory = Arc::new(Inventory { instance, served: AtomicU64::new(0) });
    Router::new().route("/stock", get(stock)).route("/health", get(health)).with_state(inventory)
}

async fn stock(State(inventory): State<Arc<Inventory>>) -> Json<StockReply> {
    Json(StockReply {
        instance: inventory.instance.clone(),
        served: inventory.served.fetch_add(1, Relaxed) + 1,
        stock: STOCK.iter().map(|(item, units)| Item { item: (*item).into(), units: *units }).collect(),
    })
}
