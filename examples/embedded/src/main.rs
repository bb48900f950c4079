//! A small service with the fabric inside: it joins, publishes itself as `greeter`, and finds `web.shop` by name.
//!
//! ```sh
//! taffeta demo                                        # in another terminal
//! cargo run --release -p taffeta-example-embedded -- \
//!     --data /tmp/greeter --address 127.0.0.9 --join 127.0.0.1 --token $(taffeta token create)
//! dig @127.0.0.1 -p 7453 greeter.embedded.fabric.internal SRV
//! ```

use anyhow::{Context, bail};
use axum::{Router, extract::State, routing::get};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use taffeta_node::{
    Fabric, FabricConfig, Publish, Serve,
    model::{AppName, JobName, NodeName, WEIGHT_DEFAULT},
};
use tokio::{net::TcpListener, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let fabric = Arc::new(join().await?);
    let listener = TcpListener::bind((fabric.address().ip(), 0)).await.context("no port for the greeter")?;
    let address = listener.local_addr()?;
    fabric.publish(Publish {
        app: AppName::new("embedded")?,
        service: JobName::new("greeter")?,
        address: None,
        ports: vec![("http".into(), address.port())],
        tags: vec!["embedded".into()],
        weight: WEIGHT_DEFAULT,
    })?;
    println!("greeter listens on {address}");
    let routes = Router::new().route("/", get(greet)).with_state(Arc::clone(&fabric));
    axum::serve(listener, routes).with_graceful_shutdown(ended()).await?;
    match Arc::into_inner(fabric) {
        Some(fabric) => fabric.shutdown().await,
        None => bail!("a request still holds the fabric"),
    }
    Ok(())
}

/// Joins the ring by the flags of the command line. The node runs no tasks and listens on nothing but the fabric's port.
async fn join() -> anyhow::Result<Fabric> {
    let mut config = FabricConfig::new("greeter-data");
    config.name = Some(NodeName::new("greeter")?);
    config.serve = Serve { http: false, dns: false };
    config.capacity = Some(Default::default()); // nothing is offered, so nothing is placed here
    config.best_effort = true;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().with_context(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--data" => config.data = value.into(),
            "--address" => config.address = Some(SocketAddr::new(value.parse()?, taffeta_node::FABRIC_PORT)),
            "--fabric" => config.address = Some(value.parse()?),
            "--join" => config.join = vec![value],
            "--token" => config.token = Some(value.parse()?),
            other => bail!("unknown flag {other}; expected --data, --address, --fabric, --join or --token"),
        }
    }
    let fabric = Fabric::start(config).await?;
    fabric.ready(Duration::from_secs(10)).await?;
    Ok(fabric)
}

/// Greets, and says where the shop's front is at this moment.
async fn greet(State(fabric): State<Arc<Fabric>>) -> String {
    match fabric.resolve("web.shop") {
        Ok(found) if found.is_empty() => "hello; the shop is closed\n".into(),
        Ok(found) => {
            let shops: Vec<String> =
                found.iter().map(|e| format!("{} on {} at {}", e.name, e.node, e.address)).collect();
            format!("hello; the shop is open: {}\n", shops.join(", "))
        }
        Err(e) => format!("hello; {e}\n"),
    }
}

/// Resolves when the process is told to end.
async fn ended() {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate()).expect("signals can be watched");
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
