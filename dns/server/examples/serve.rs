//! Serves a zone of many services on one address, for load generators: `serve ADDRESS SERVICES [UPSTREAM]`.
//!
//! Each service `sN.shop.fabric.internal` has two instances with a port `http`, so an SRV question gets two records and
//! two addresses.

use arc_swap::ArcSwap;
use std::{error::Error, net::SocketAddr, sync::Arc};
use taffeta_dns_answer::{Instance, Snapshot, SnapshotInput};
use taffeta_dns_server::{DnsServer, ForwardConfig, Responder, Sockets, Upstreams};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("ADDRESS is missing")?.parse()?;
    let services: u16 = arguments.next().ok_or("SERVICES is missing")?.parse()?;
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::build(zone(services)?)));
    let upstream = arguments.next().map(|upstream| upstream.parse()).transpose()?;
    let upstreams = upstream.map_or(Upstreams::Nobody, |upstream| Upstreams::Listed(vec![upstream]));
    let forward = ForwardConfig::new(upstreams, Vec::new());
    let server = DnsServer::bind(address, Arc::new(Responder::new(snapshot, forward, Arc::new(Sockets), 1)))?;
    println!("{}", server.local_addr());
    tokio::signal::ctrl_c().await?;
    server.shut_down().await;
    Ok(())
}

fn zone(services: u16) -> Result<SnapshotInput, Box<dyn Error>> {
    let [high, low] = [|i: u16| i.to_be_bytes()[0], |i: u16| i.to_be_bytes()[1]];
    let instance = |service: u16, index: u8| Instance {
        app: "shop".into(),
        service: format!("s{service}").into(),
        label: index.to_string().into(),
        node: "n1".into(),
        address: [10, index, high(service), low(service)].into(),
        ports: vec![("http".into(), 31000)],
        tags: Vec::new(),
        serving: true,
        version: 1,
        weight: 10,
        suspected: false,
    };
    let instances = (0..services).flat_map(|s| [instance(s, 1), instance(s, 2)]).collect();
    Ok(SnapshotInput { ready: true, instances, ..SnapshotInput::new("fabric.internal".parse()?, "n1") })
}
