//! Names of runs, and what a task's process is told.

use super::{assigned, fence, run, service, task};
use crate::{RunId, TaskPlace, expand, task_env};
use proptest::prelude::*;
use std::collections::BTreeMap;
use taffeta_model::{Fence, TaskId};

fn place() -> TaskPlace {
    let address = "127.0.0.2".parse().unwrap();
    let dns = Some("127.0.0.2:7453".parse().unwrap());
    TaskPlace { node: "n2".parse().unwrap(), address, dns, task_dir: "/data/run/x".into() }
}

#[test]
fn a_run_id_can_be_read_back() {
    let id = run("my-shop.web-2.11-0.3.17-4");
    assert_eq!(id.task(), task("my-shop/web-2.11"));
    assert_eq!((id.fence(), id.restart()), (Fence { generation: 0, term: 3, index: 17 }, 4));
}

#[test]
fn what_is_no_run_id_is_refused() {
    for bad in [
        "",
        "x",
        "shop.web.1",
        "shop.web.1-0.1.3",
        "shop.web.1-0.1-0",
        "shop.web.1-0.1.3.4-0",
        "shop.web.1-0.1.3-x",
        "shop.web.1-0.1.3-00",
        "shop.web.1-0.1.3-+1",
        "shop.web.01-0.1.3-0",
        "Shop.web.1-0.1.3-0",
        "node.web.1-0.1.3-0",
        "../web.1-0.1.3-0",
        "a.b.c.1-0.1.3-0",
        "shop.web.1-0.1.3-99999999999",
    ] {
        assert!(bad.parse::<RunId>().is_err(), "{bad}");
        assert!(serde_json::from_str::<RunId>(&format!("\"{bad}\"")).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_run_id_is_a_file_name_and_reads_back(
        app in "[a-m]([a-z0-9-]{0,61}[a-z0-9])?", job in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        index: u32, generation: u64, term: u64, at: u64, restart: u32,
    ) {
        prop_assume!(!taffeta_model::RESERVED_NAMES.contains(&app.as_str()));
        let task = TaskId { app: app.parse().unwrap(), job: job.parse().unwrap(), index };
        let fence = Fence { generation, term, index: at };
        let id = RunId::new(&task, fence, restart);
        prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)));
        prop_assert!(id.as_str().len() <= 212 && !id.as_str().starts_with('.'));
        prop_assert_eq!((id.task(), id.fence(), id.restart()), (task, fence, restart));
        prop_assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
    }

    #[test]
    fn no_text_breaks_the_parsers(text in "[a-z0-9.$\\{\\}é-]{0,40}") {
        let _ = text.parse::<RunId>();
        prop_assert_eq!(expand(&text, &BTreeMap::new()), text.replace("$$", "$"));
    }
}

#[test]
fn the_environment_is_that_of_the_contract() {
    let mut job = service();
    job.env = [("GREETING".into(), "hello".into()), ("TAFFETA_FENCE".into(), "forged".into())].into();
    let ports = [("http".to_string(), 20_001), ("admin-api".to_string(), 8081)];
    let env = task_env(&task("shop/web.2"), &assigned(17, job), &ports, &place());
    let lines: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        lines,
        [
            "GREETING=hello",
            "PORT_ADMIN_API=8081",
            "PORT_HTTP=20001",
            "TAFFETA_ADDRESS=127.0.0.2",
            "TAFFETA_APP=shop",
            "TAFFETA_DNS=127.0.0.2:7453",
            "TAFFETA_FENCE=0.1.17",
            "TAFFETA_NODE=n2",
            "TAFFETA_TASK=shop/web.2",
            "TAFFETA_TASK_DIR=/data/run/x",
        ]
    );
    assert_eq!(fence(17).to_string(), "0.1.17");
}

#[test]
fn a_node_without_dns_names_none() {
    let env = task_env(&task("shop/web.2"), &assigned(17, service()), &[], &TaskPlace { dns: None, ..place() });
    assert!(!env.contains_key("TAFFETA_DNS"));
}

#[test]
fn variables_are_expanded_and_unknown_ones_stay() {
    let env = [("A", "1"), ("PORT_HTTP", "20001"), ("DOLLAR", "$A")].map(|(k, v)| (k.to_string(), v.to_string()));
    let env = BTreeMap::from(env);
    for (arg, expected) in [
        ("plain", "plain"),
        ("$PORT_HTTP", "20001"),
        ("--port=${PORT_HTTP}!", "--port=20001!"),
        ("$A$A-${A}b", "11-1b"),
        ("$Ab", "$Ab"),
        ("$$A", "$A"),
        ("$$$A", "$1"),
        ("$DOLLAR", "$A"), // a value is not expanded again
        ("$UNKNOWN ${UNKNOWN}", "$UNKNOWN ${UNKNOWN}"),
        ("${A", "${A"),
        ("${}", "${}"),
        ("5$", "5$"),
        ("$5 $é", "$5 $é"),
        ("${X$A}", "${X1}"),
    ] {
        assert_eq!(expand(arg, &env), expected, "{arg}");
    }
}
