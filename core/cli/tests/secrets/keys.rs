//! What only one may have: the secret of a token whoever was given it, the private key of a node its machine.

use super::{LIMIT, leaks::Needles, support::alone, talkative};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fs;
use taffeta_harness::{Cluster, get, within};

/// The secret half of a token: its last 16 bytes before the checksum.
fn secret_of(token: &str) -> Vec<u8> {
    let body = token.strip_prefix("taffeta1.").expect("a token");
    let bytes = URL_SAFE_NO_PAD.decode(body).expect("base64");
    bytes[bytes.len() - 20..bytes.len() - 4].to_vec()
}

/// What the machines say about all that they would say anything of.
fn everything_said(cluster: &Cluster) -> String {
    let verbs: [&[&str]; 5] = [&["token", "list"], &["nodes"], &["status"], &["events"], &["ca", "status"]];
    let paths =
        ["/", "/metrics", "/v1/tokens", "/v1/nodes", "/v1/status", "/v1/events?follow=false", "/v1/openapi.json"];
    let mut said = String::new();
    for machine in &cluster.machines {
        for verb in verbs {
            said += &format!("{:?}", machine.run(verb));
        }
        for path in paths {
            said += &get(machine.http(), path).map(|(_, body)| body).unwrap_or_default();
        }
    }
    said
}

#[test]
fn a_tokens_secret_is_in_no_file_and_a_nodes_key_in_its_own_alone() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(talkative(folder.path()));
    cluster.start(3);
    cluster.wait_ready();
    cluster.wait_voters(3);
    let token = || cluster.machines[1].run(&["token", "create"]).success().stdout.trim().to_owned();
    let (used, unused) = (token(), token());
    let secrets = [secret_of(&used), secret_of(&unused)];
    assert_ne!(secrets[0], secrets[1]);

    // One of them lets a machine in.
    let first = cluster.machines[0].fabric().to_string();
    let empty = cluster.root().join("empty");
    fs::create_dir_all(&empty).expect("a folder");
    cluster.adopt(&empty);
    cluster.machines[3].up(&["--join", &first, "--token", &used]);
    cluster.wait_ready();
    let file = cluster.root().join("app.toml");
    fs::write(&file, "app = \"a\"\n[daemon.web]\nrun = [\"sleep\", \"600\"]\n").expect("a file");
    cluster.machines[3].run(&["deploy", &file.to_string_lossy()]).success();
    let former = cluster.machines[0].try_json(&["ca", "status"]).expect("CAs");
    cluster.machines[0].run(&["ca", "rotate"]).success();
    within(LIMIT, "all have new certificates", || match cluster.machines[3].try_json(&["ca", "status"])? {
        view if view["rotating"] == false && view["authorities"] != former["authorities"] => Ok(()),
        view => Err(view.to_string()),
    });
    cluster.machines[2].run(&["backup", &cluster.root().join("fabric.backup").to_string_lossy()]).success();
    let said = everything_said(&cluster);

    let keys: Vec<Vec<u8>> =
        cluster.machines.iter().map(|m| fs::read(m.data.join("node.key")).expect("its key")).collect();
    assert!(keys.iter().all(|key| key.len() == 32), "a key is its seed");
    let needles = |of: &[Vec<u8>]| Needles::of_bytes(&of.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (tokens, all) = (needles(&secrets), needles(&keys));
    assert_eq!(tokens.found_in(used.as_bytes()).map(|what| what.contains("base64")), Some(true), "it can be found");
    assert_eq!((tokens.found_in(said.as_bytes()), all.found_in(said.as_bytes())), (None, None), "in what was said");
    for (n, machine) in cluster.machines.iter().enumerate() {
        let others = [&keys[..n], &keys[n + 1..]].concat();
        needles(&others).not_in_memory_of(machine.pid().expect("a node"));
        let own = needles(&keys[n..=n]).found_below(cluster.root());
        assert_eq!(own, [format!("{}: value 0 as it is", machine.data.join("node.key").display())]);
    }
    assert_eq!(tokens.found_below(cluster.root()), Vec::<String>::new());
    cluster.machines.iter_mut().for_each(|machine| machine.kill());
    assert_eq!(tokens.found_below(cluster.root()), Vec::<String>::new(), "after the end");
}
