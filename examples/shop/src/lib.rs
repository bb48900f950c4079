//! The example shop: three small HTTP services that find each other by name through the fabric's DNS.
//!
//! It knows nothing of the fabric but what any task is told: a few environment variables and a DNS server. It leaves
//! out storage (each instance of `orders` keeps its own in memory), authentication and connection pools, so that what
//! remains is what a service has to do to live in a fabric: listen where told, tell its health, resolve on every
//! request, try the next instance, and end cleanly when asked.

mod call;
mod inventory;
mod order;
mod orders;
mod page;
mod reply;
mod resolver;
mod serve;
mod settings;
mod web;

#[cfg(test)]
#[path = "../tests/fake_dns/mod.rs"]
mod fake_dns;
#[cfg(test)]
mod tests;

use anyhow::{Context, bail};
use axum::Router;
use order::Dice;
use settings::Settings;
use std::{
    hash::{BuildHasher, RandomState},
    io::Write,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// The app file of the shop, ready to deploy.
pub const SHOP_TOML: &str = include_str!("../shop.toml");

/// What [`run`] can run: the three services and the batch job.
pub const PROGRAMS: [&str; 4] = ["web", "orders", "inventory", "migrate"];

/// Runs one of [`PROGRAMS`] in this process: a service until SIGTERM or SIGINT (it then finishes what is in flight,
/// for 1.5 s at most), the batch job to its end. `args` is what followed the name; there are no arguments yet.
///
/// A service listens on `$TAFFETA_ADDRESS` (127.0.0.1 if unset) at port `$PORT_HTTP` and prints the address; port 0
/// lets the system choose one. `web` asks the DNS server `$TAFFETA_DNS` for names below `$TAFFETA_APP` (`shop`) and
/// `$TAFFETA_DOMAIN` (`fabric.internal`). Replies carry `$TAFFETA_TASK` and `$TAFFETA_NODE`.
///
/// # Errors
/// An unknown program, an argument, a variable that is missing or makes no sense, or an address that cannot be had.
pub fn run(program: &str, args: &[String]) -> anyhow::Result<()> {
    if let Some(arg) = args.first() {
        bail!("`{program}` takes no arguments, but was given `{arg}`");
    }
    if program == "migrate" {
        return migrate();
    }
    let settings = Settings::read(program, |name| std::env::var(name).ok());
    let app: fn(Settings) -> anyhow::Result<Router> = match program {
        "web" => |settings| web::router(settings, Dice::new(RandomState::new().hash_one(()))),
        "orders" => |settings| Ok(orders::router(settings.instance)),
        "inventory" => |settings| Ok(inventory::router(settings.instance)),
        unknown => bail!("`{unknown}` is not one of {}", PROGRAMS.join(", ")),
    };
    // One thread is plenty here, and a small process is part of what the example shows.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(listen_and_serve(program, settings?, app))
}

async fn listen_and_serve(
    program: &str,
    settings: Settings,
    app: fn(Settings) -> anyhow::Result<Router>,
) -> anyhow::Result<()> {
    // Before the first line is printed: whoever reads it may ask for the end at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listen = settings.listen;
    let app = app(settings)?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    print_line(&format!("{program}: listening on {}", listener.local_addr()?));
    serve::serve(listener, app, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    print_line(&format!("{program}: ended as asked"));
    Ok(())
}

fn migrate() -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "migrate: nothing to change, as this shop keeps its orders in memory; orders may start")
        .context("cannot write to stdout")
}

/// A service goes on when nobody reads its output any more; `println!` would panic.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
