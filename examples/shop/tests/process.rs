//! Each program as a process of its own, as a fabric runs it.

mod fake_dns;

use fake_dns::FakeDns;
use rustix::process::{Pid, Signal, kill_process};
use std::{net::SocketAddr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, timeout},
};

/// Far above what any of these steps takes.
const DEADLINE: Duration = Duration::from_secs(20);
/// What a service may have resident, after some requests.
const RSS_KIB_MAX: u64 = 10 * 1024;

fn program(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taffeta-example-shop"));
    command.arg(name).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true); // also when the test fails
    command
}

struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    /// Starts it on a port of the system's choice and waits until it says where it listens.
    async fn start(name: &str, node: &str, dns: Option<SocketAddr>) -> Self {
        let mut command = program(name);
        command.env("PORT_HTTP", "0").env("TAFFETA_ADDRESS", "127.0.0.1");
        command.env("TAFFETA_TASK", format!("shop/{name}.1")).env("TAFFETA_NODE", node);
        if let Some(dns) = dns {
            command.env("TAFFETA_DNS", dns.to_string());
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Asks it to end; gives its exit code and the time it took.
    async fn terminate(mut self) -> (Option<i32>, Duration) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        let begun = Instant::now();
        kill_process(pid, Signal::TERM).unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        (status.code(), begun.elapsed())
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    timeout(DEADLINE, exchange).await.unwrap()
}

#[tokio::test]
async fn the_shop_runs_as_small_processes_that_end_when_asked() {
    let orders = Service::start("orders", "n2", None).await;
    let inventory = Service::start("inventory", "n3", None).await;
    let dns = FakeDns::with_services(vec![
        ("_http._tcp.orders.shop.fabric.internal.", vec![orders.address]),
        ("_http._tcp.inventory.shop.fabric.internal.", vec![inventory.address]),
    ])
    .await;
    let web = Service::start("web", "n1", Some(dns.address)).await;
    for _ in 0..50 {
        let reply = get(web.address, "/api").await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        for who in [r#""node":"n1""#, r#""node":"n2""#, r#""node":"n3""#, "shop/orders.1", "shop/inventory.1"] {
            assert!(reply.contains(who), "{who} is missing in {reply}");
        }
        assert!(get(web.address, "/").await.contains("shop/web.1"));
    }
    assert_eq!(dns.asked(), 200);
    // A client that stays connected must not hold up the end.
    let _idle = TcpStream::connect(web.address).await.unwrap();
    for (name, service) in [("web", web), ("orders", orders), ("inventory", inventory)] {
        assert!(get(service.address, "/health").await.ends_with("\r\n\r\nok"));
        let resident = service.resident_kib();
        assert!(resident < RSS_KIB_MAX, "{name} has {resident} KiB resident");
        let (code, took) = service.terminate().await;
        println!("{name}: {resident} KiB resident, ended after {} ms", took.as_millis());
        assert_eq!(code, Some(0), "{name}");
        assert!(took < Duration::from_secs(2), "{name} took {took:?} to end");
    }
}

#[tokio::test]
async fn migrate_says_what_it_did_and_ends() {
    let output = timeout(DEADLINE, program("migrate").output()).await.unwrap().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 1);
    assert!(said.starts_with("migrate: "), "{said}");
}

#[tokio::test]
async fn a_missing_port_is_said() {
    let output = timeout(DEADLINE, program("orders").output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("PORT_HTTP"));
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let taken = Service::start("orders", "n1", None).await;
    let mut second = program("orders");
    second.env("PORT_HTTP", taken.address.port().to_string());
    let output = timeout(DEADLINE, second.output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on {}", taken.address)), "{said}");
}
