//! The front page. Everything is in the one reply: no script, font or image to fetch.

use crate::{
    settings::Instance,
    web::{Failed, View},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// The shop, and who answered.
pub(crate) fn shop(view: &View) -> String {
    let (orders, stock) = (&view.orders.reply, &view.inventory.reply);
    let units: u64 = stock.stock.iter().map(|item| u64::from(item.units)).sum();
    document(html! {
        div.cards {
            (card("web", &view.web, html! { "answers you" }))
            (card("orders", &orders.instance, html! { (view.orders.address) " · asked " (orders.served) "×" }))
            (card("inventory", &stock.instance, html! { (view.inventory.address) " · asked " (stock.served) "×" }))
        }
        section {
            h2 { (orders.total) " orders" }
            table {
                @for order in &orders.orders {
                    tr { td.dim { "#" (order.id) } td { (order.item) } td.number { (order.quantity) } }
                }
            }
        }
        section {
            h2 { (units) " units in stock" }
            table {
                @for item in &stock.stock {
                    tr { td { (item.item) } td.number { (item.units) } }
                }
            }
        }
    })
}

/// What could not be asked, and why.
pub(crate) fn sorry(web: &Instance, failed: &[Failed]) -> String {
    document(html! {
        div.cards {
            (card("web", web, html! { "answers you" }))
            @for Failed { service, reason } in failed {
                article.failed { h3 { (service) } p { "does not answer" } small { (reason) } }
            }
        }
    })
}

fn card(service: &str, who: &Instance, note: Markup) -> Markup {
    html! {
        article {
            h3 { (service) }
            p { b { (who.task) } " on " b { (who.node) } }
            small { (note) }
        }
    }
}

fn document(body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Loaded anew, the page finds the services anew: machines that come and go show by themselves.
                meta http-equiv="refresh" content="2";
                title { "Taffeta shop" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { "The Taffeta shop" } p { "Each request finds its services by name." } }
                main { (body) }
                footer { "The same as JSON: " a href="/api" { "/api" } }
            }
        }
    };
    page.into_string()
}
