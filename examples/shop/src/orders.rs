//! The service `orders`: recent orders, and a way to place one.

use crate::{
    reply::{health, refuse},
    settings::Instance,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Newest orders that are kept: a page shows no more, and an instance's memory stays as it is.
const ORDERS_KEPT: usize = 20;
/// Longest name of an item in bytes: with [`ORDERS_KEPT`] it keeps a reply far below what `web` reads.
const ITEM_BYTES_MAX: usize = 80;
/// Most of one item in one order; the sum of all orders cannot overflow.
const QUANTITY_MAX: u32 = 1000;
/// What every instance begins with.
const SAMPLES: [(&str, u32); 4] =
    [("taffeta, midnight blue", 3), ("silk thread", 12), ("organza ribbon", 5), ("taffeta, old rose", 2)];

/// Answer of `GET /orders`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrdersReply {
    /// Who answered.
    #[serde(flatten)]
    pub(crate) instance: Instance,
    /// Number of times this instance was asked since it started: shows how requests spread.
    pub(crate) served: u64,
    /// Number of orders that were ever placed here, those no longer kept included.
    pub(crate) total: u64,
    /// Newest first.
    pub(crate) orders: Vec<Order>,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Counts the orders of one instance.
    pub(crate) id: u64,
    /// What was ordered.
    pub(crate) item: String,
    /// How many.
    pub(crate) quantity: u32,
}

/// Answer of `POST /orders`.
#[derive(Serialize)]
struct Placed {
    #[serde(flatten)]
    instance: Instance,
    order: Order,
}

/// Body of `POST /orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    item: String,
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

struct Orders {
    instance: Instance,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    served: u64,
    total: u64,
    /// Newest first, at most [`ORDERS_KEPT`].
    recent: VecDeque<Order>,
}

impl Book {
    fn place(&mut self, item: String, quantity: u32) -> Order {
        self.total += 1;
        let order = Order { id: self.total, item, quantity };
        self.recent.truncate(ORDERS_KEPT - 1);
        self.recent.push_front(order.clone());
        order
    }
}

impl Orders {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/orders` and `/health`.
pub(crate) fn router(instance: Instance) -> Router {
    let mut book = Book::default();
    for (item, quantity) in SAMPLES {
        book.place(item.into(), quantity);
    }
    let orders = Arc::new(Orders { instance, book: Mutex::new(book) });
    Router::new().route("/orders", get(list).post(place)).route("/health", get(health)).with_state(orders)
}

async fn list(State(orders): State<Arc<Orders>>) -> Json<OrdersReply> {
    let mut book = orders.book();
    book.served += 1;
    Json(OrdersReply {
        instance: orders.instance.clone(),
        served: book.served,
        total: book.total,
        orders: book.recent.iter().cloned().collect(),
    })
}

/// Takes JSON whatever its `Content-Type` says, so that plain `curl -d` works.
async fn place(State(orders): State<Arc<Orders>>, body: Result<Bytes, BytesRejection>) -> Response {
    let help = r#"send {"item": "silk thread", "quantity": 2}"#;
    let bad = |message: String, field| refuse(StatusCode::BAD_REQUEST, "bad_order", message, help, field);
    let body = match body {
        Ok(body) => body,
        Err(e) => return refuse(e.status(), "bad_body", e.body_text(), help, None),
    };
    let new: NewOrder = match serde_json::from_slice(&body) {
        Ok(new) => new,
        Err(e) => return bad(format!("not an order: {e}"), None),
    };
    if new.item.trim().is_empty() || new.item.len() > ITEM_BYTES_MAX {
        return bad(format!("`item` has 1 to {ITEM_BYTES_MAX} bytes, not {}", new.item.len()), Some("item"));
    }
    if !(1..=QUANTITY_MAX).contains(&new.quantity) {
        return bad(format!("`quantity` is 1 to {QUANTITY_MAX}, not {}", new.quantity), Some("quantity"));
    }
    let order = orders.book().place(new.item, new.quantity);
    (StatusCode::CREATED, Json(Placed { instance: orders.instance.clone(), order })).into_response()
}
