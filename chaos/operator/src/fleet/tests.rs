use super::Fleet;
use serde_json::json;
use std::net::SocketAddr;
use taffeta_node::api::{ChaosView, NodeView, StatusView};

/// Machines with these addresses of their fabric, API and DNS.
fn fleet(machines: &[(&str, &str, &str, &str)]) -> Fleet {
    let node = |(name, address, http, dns): &(&str, &str, &str, &str)| -> NodeView {
        let told = json!({
            "id": "0123456789abcdef", "name": name, "address": address, "zone": "", "state": "alive", "role": "voter",
            "rtt_ms": null, "generation": 1, "attributes": {}, "resources": {"cpus": 1.0, "memory": 1, "disk": 1},
            "used": {"cpus": 0.0, "memory": 0, "disk": 0}, "tasks": 0, "http": http, "dns": dns, "version": "1",
            "not_isolated": [],
        });
        serde_json::from_value(told).unwrap()
    };
    let status = json!({
        "cluster": "", "generation": 1, "leader": null, "quorum": false,
        "nodes": {"alive": 0, "suspect": 0, "down": 0}, "apps": 0, "tasks": {}, "version": "", "node": "n1",
        "ready": false, "voters": [], "notes": [],
    });
    let status: StatusView = serde_json::from_value(status).unwrap();
    let nodes: Vec<NodeView> = machines.iter().map(node).collect();
    Fleet::of(&status, &nodes, &[], &[], &ChaosView::default())
}

fn at(fleet: &Fleet, name: &str) -> [Option<SocketAddr>; 2] {
    [fleet.machines[name].http, fleet.machines[name].dns]
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn an_address_that_several_machines_have_is_none() {
    let near = "127.0.0.1:7480";
    let mut fleet = fleet(&[
        ("n1", "10.0.0.1:7400", near, "127.0.0.1:7453"),
        ("n2", "10.0.0.2:7400", near, "10.0.0.2:53"),
        ("n3", "10.0.0.3:7400", "10.0.0.3:7480", "10.0.0.3:53"),
    ]);
    assert_eq!(fleet.told_by.as_deref(), Some("n1"));
    assert_eq!(at(&fleet, "n1"), [address(near), address("127.0.0.1:7453")], "it has told this");
    assert_eq!(at(&fleet, "n2"), [None, address("10.0.0.2:53")]);
    assert_eq!(at(&fleet, "n3"), [address("10.0.0.3:7480"), address("10.0.0.3:53")]);
    fleet.forget_loopback();
    assert_eq!(at(&fleet, "n1"), [None, None]);
}

#[test]
fn who_listens_everywhere_is_asked_where_the_machine_is_known() {
    let fleet =
        fleet(&[("n1", "10.0.0.1:7400", "0.0.0.0:7480", "[::]:53"), ("n2", "0.0.0.0:7400", "0.0.0.0:7480", "x")]);
    assert_eq!(at(&fleet, "n1"), [address("10.0.0.1:7480"), address("10.0.0.1:53")]);
    assert_eq!(at(&fleet, "n2"), [None, None]);
}
