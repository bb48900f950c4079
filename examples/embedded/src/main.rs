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
use tokio::{
    net::TcpListener,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
    time::sleep,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?; // from here on, so that the ring is told whenever it comes
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
    let ended = async move {
        tokio::select! {
            _ = ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    axum::serve(listener, routes).with_graceful_shutdown(ended).await?;
    leave(fabric).await
}

/// Takes leave of the ring. A connection that has just ended may hold the fabric for a moment longer.
async fn leave(mut fabric: Arc<Fabric>) -> anyhow::Result<()> {
    for _ in 0..100 {
        match Arc::try_unwrap(fabric) {
            Ok(fabric) => {
                fabric.shutdown().await;
                return Ok(());
            }
            Err(held) => fabric = held,
        }
        sleep(Duration::from_millis(10)).await;
    }
    bail!("a request still holds the fabric")
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
