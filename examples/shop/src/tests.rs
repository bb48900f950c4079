//! The services together, in one process, over real sockets.

use crate::{
    PROGRAMS, SHOP_TOML,
    fake_dns::FakeDns,
    inventory,
    order::Dice,
    orders, run, serve,
    settings::{Instance, Settings},
    web,
};
use axum::Router;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr};
use taffeta_model::{FileSource, JobName, ShippedFile, parse_app_file};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Duration, timeout},
};

const ORDERS: &str = "_http._tcp.orders.shop.fabric.internal.";
const INVENTORY: &str = "_http._tcp.inventory.shop.fabric.internal.";
/// Far above what any of these steps takes.
const DEADLINE: Duration = Duration::from_secs(20);

fn instance(task: &str, node: &str) -> Instance {
    Instance { task: task.into(), node: node.into() }
}

/// Services that run until dropped.
#[derive(Default)]
struct Services(JoinSet<()>);

impl Services {
    async fn start(&mut self, app: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.0.spawn(serve::serve(listener, app, std::future::pending()));
        address
    }

    async fn start_web(&mut self, dns: &FakeDns) -> SocketAddr {
        let settings = Settings {
            instance: instance("shop/web.1", "n1"),
            listen: "127.0.0.1:0".parse().unwrap(),
            dns: Some(dns.address),
            app: "shop".into(),
            domain: "fabric.internal".into(),
        };
        self.start(web::router(settings, Dice::new(1)).unwrap()).await
    }

    async fn start_orders(&mut self) -> SocketAddr {
        self.start(orders::router(instance("shop/orders.2", "n2"))).await
    }

    async fn start_inventory(&mut self) -> SocketAddr {
        self.start(inventory::router(instance("shop/inventory.1", "n3"))).await
    }
}

/// Sends one request and gives status and body.
async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    let reply = timeout(DEADLINE, exchange).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
}

async fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, body) = send(address, "GET", path, "").await;
    (status, serde_json::from_str(&body).unwrap())
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn api_tells_which_instance_on_which_machine_answered() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    let dns = FakeDns::with_services(vec![(ORDERS, vec![orders]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    let (status, view) = get_json(web, "/api").await;
    assert_eq!(status, 200);
    assert_eq!(view["web"], json!({"task": "shop/web.1", "node": "n1"}));
    assert_eq!((&view["orders"]["task"], &view["orders"]["node"]), (&json!("shop/orders.2"), &json!("n2")));
    assert_eq!((&view["inventory"]["task"], &view["inventory"]["node"]), (&json!("shop/inventory.1"), &json!("n3")));
    assert_eq!(view["orders"]["address"], json!(orders.to_string()));
    assert_eq!(view["orders"]["orders"].as_array().unwrap().len(), 4);
    assert_eq!(view["inventory"]["stock"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn names_are_asked_for_on_every_request() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    let dns = FakeDns::with_services(vec![(ORDERS, vec![orders]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    for round in 1..=3 {
        let (_, view) = get_json(web, "/api").await;
        assert_eq!(dns.asked(), 2 * round);
        assert_eq!(view["orders"]["served"], json!(round));
    }
}

#[tokio::test]
async fn the_page_shows_all_three_and_needs_nothing_else() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    let dns = FakeDns::with_services(vec![(ORDERS, vec![orders]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    let (status, page) = send(web, "GET", "/", "").await;
    assert_eq!(status, 200);
    for shown in ["shop/web.1", "shop/orders.2", "shop/inventory.1", "4 orders", "1444 units in stock", "silk thread"] {
        assert!(page.contains(shown), "{shown} is missing in {page}");
    }
    for node in ["n1", "n2", "n3"] {
        assert!(page.contains(&format!(" on <b>{node}</b>")), "{node} is missing in {page}");
    }
    assert!(!page.contains("src=") && !page.contains("http://") && !page.contains("<link"), "{page}");
}

#[tokio::test]
async fn a_placed_order_is_shown_as_text_never_as_markup() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    let dns = FakeDns::with_services(vec![(ORDERS, vec![orders]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    let (status, placed) = send(orders, "POST", "/orders", r#"{"item": "<script>alert(1)</script>"}"#).await;
    let placed: Value = serde_json::from_str(&placed).unwrap();
    assert_eq!((status, &placed["order"]["quantity"], &placed["node"]), (201, &json!(1), &json!("n2")));
    let (_, page) = send(web, "GET", "/", "").await;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn a_failing_first_target_falls_over_to_the_second() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    // One that refuses connections, and one that answers with an error.
    let broken = services.start(Router::new()).await;
    let dns =
        FakeDns::with_services(vec![(ORDERS, vec![nobody().await, orders]), (INVENTORY, vec![broken, inventory])])
            .await;
    let web = services.start_web(&dns).await;
    let (status, view) = get_json(web, "/api").await;
    assert_eq!(status, 200, "{view}");
    assert_eq!((&view["orders"]["failed_over"], &view["inventory"]["failed_over"]), (&json!(1), &json!(1)));
    assert_eq!(view["orders"]["node"], json!("n2"));
}

#[tokio::test]
async fn a_target_that_hangs_falls_over_to_the_second() {
    let mut services = Services::default();
    let (orders, inventory) = (services.start_orders().await, services.start_inventory().await);
    // The kernel accepts, nobody answers: what a machine whose packets are dropped looks like, but for the handshake.
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung_address = hung.local_addr().unwrap();
    let dns = FakeDns::with_services(vec![(ORDERS, vec![hung_address, orders]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    let (status, view) = get_json(web, "/api").await;
    assert_eq!((status, &view["orders"]["failed_over"]), (200, &json!(1)), "{view}");
}

#[tokio::test]
async fn a_dependency_that_fails_is_named_with_its_reason() {
    let mut services = Services::default();
    let inventory = services.start_inventory().await;
    let dead = nobody().await;
    let dns = FakeDns::with_services(vec![(ORDERS, vec![dead]), (INVENTORY, vec![inventory])]).await;
    let web = services.start_web(&dns).await;
    let (status, error) = get_json(web, "/api").await;
    assert_eq!((status, &error["error"]["field"]), (502, &json!("orders")));
    assert_eq!(error["error"]["code"], json!("dependency_failed"));
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("orders: ") && message.contains(&dead.to_string()), "{message}");
    assert!(message.contains("refused") && !message.contains("inventory"), "{message}");
    let (status, page) = send(web, "GET", "/", "").await;
    assert_eq!(status, 502);
    assert!(page.contains("does not answer") && page.contains(&dead.to_string()), "{page}");
}

#[tokio::test]
async fn web_is_healthy_whatever_its_dependencies_do() {
    let mut services = Services::default();
    let dns = FakeDns::with_services(vec![]).await;
    let web = services.start_web(&dns).await;
    assert_eq!(send(web, "GET", "/health", "").await, (200, "ok".into()));
    assert_eq!(dns.asked(), 0);
    let (status, error) = get_json(web, "/api").await;
    let message = error["error"]["message"].as_str().unwrap();
    assert_eq!(status, 502);
    assert!(message.contains("orders: cannot resolve") && message.contains("inventory: cannot resolve"), "{message}");
}

#[tokio::test]
async fn a_bad_order_is_refused_and_changes_nothing() {
    let mut services = Services::default();
    let orders = services.start_orders().await;
    let long = format!(r#"{{"item": "{}"}}"#, "x".repeat(81));
    let huge = format!(r#"{{"item": "{}"}}"#, "x".repeat(5000));
    for (body, status, field) in [
        ("", 400, None),
        ("[]", 400, None),
        (r#"{"item": "silk", "price": 3}"#, 400, None),
        (r#"{"item": " "}"#, 400, Some("item")),
        (&long, 400, Some("item")),
        (r#"{"item": "silk", "quantity": 0}"#, 400, Some("quantity")),
        (r#"{"item": "silk", "quantity": 1001}"#, 400, Some("quantity")),
        (&huge, 413, None),
    ] {
        let (got, reply) = send(orders, "POST", "/orders", body).await;
        let reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!((got, reply["error"]["field"].as_str()), (status, field), "{body}: {reply}");
        assert!(reply["error"]["help"].as_str().unwrap().contains("quantity"), "{reply}");
    }
    assert_eq!(get_json(orders, "/orders").await.1["total"], json!(4));
}

#[tokio::test]
async fn only_the_newest_orders_are_kept() {
    let mut services = Services::default();
    let orders = services.start_orders().await;
    for quantity in 1..=30 {
        let body = format!(r#"{{"item": "silk", "quantity": {quantity}}}"#);
        assert_eq!(send(orders, "POST", "/orders", &body).await.0, 201);
    }
    let (_, reply) = get_json(orders, "/orders").await;
    assert_eq!((&reply["total"], reply["orders"].as_array().unwrap().len()), (&json!(34), 20));
    assert_eq!(reply["orders"][0], json!({"id": 34, "item": "silk", "quantity": 30}));
}

#[tokio::test]
async fn errors_have_the_fabrics_shape() {
    let mut services = Services::default();
    let inventory = services.start_inventory().await;
    for (method, path, status, code) in
        [("GET", "/nothing", 404, "not_found"), ("DELETE", "/stock", 405, "method_not_allowed")]
    {
        let (got, reply) = send(inventory, method, path, "").await;
        let reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!((got, &reply["error"]["code"]), (status, &json!(code)));
    }
}

/// A service with a handler that begins, tells so, and ends when told.
async fn slow_service() -> (SocketAddr, oneshot::Sender<()>, oneshot::Receiver<()>, oneshot::Sender<()>, JoinHandle<()>)
{
    let (begun, has_begun) = oneshot::channel();
    let (end, may_end) = oneshot::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((begun, may_end))));
    let handler = async move || {
        let (begun, may_end) = once.lock().unwrap().take().unwrap();
        begun.send(()).unwrap();
        let _ = may_end.await;
        "finished"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/slow", axum::routing::get(handler));
    let serving = tokio::spawn(serve::serve(listener, app, async { _ = stopped.await }));
    (address, stop, has_begun, end, serving)
}

#[tokio::test]
async fn a_request_in_flight_is_finished_after_the_end_was_asked_for() {
    let (address, stop, has_begun, end, serving) = slow_service().await;
    let request = tokio::spawn(send(address, "GET", "/slow", ""));
    has_begun.await.unwrap();
    stop.send(()).unwrap();
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(DEADLINE, refused).await.expect("no new connection is accepted");
    assert!(!serving.is_finished(), "the process would end, and the request with it");
    end.send(()).unwrap();
    assert_eq!(request.await.unwrap(), (200, "finished".into()));
    timeout(DEADLINE, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn neither_an_idle_client_nor_an_endless_request_holds_up_the_end() {
    let (address, stop, has_begun, end, serving) = slow_service().await;
    let _idle = TcpStream::connect(address).await.unwrap();
    let request = tokio::spawn(send(address, "GET", "/slow", ""));
    has_begun.await.unwrap();
    stop.send(()).unwrap();
    timeout(DEADLINE, serving).await.unwrap().unwrap();
    assert!(!end.is_closed(), "it ended although the request goes on, and not after the request's own time-out");
    request.abort();
}

fn settings(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Settings::read("web", |name| variables.get(name).map(ToString::to_string))
}

#[test]
fn the_environment_tells_where_to_listen_and_whom_to_ask() {
    let given = settings(&[
        ("PORT_HTTP", "31022"),
        ("TAFFETA_ADDRESS", "127.0.0.2"),
        ("TAFFETA_DNS", "127.0.0.2:7453"),
        ("TAFFETA_TASK", "shop/web.1"),
        ("TAFFETA_NODE", "n2"),
        ("TAFFETA_APP", "boutique"),
        ("TAFFETA_DOMAIN", "example.internal."),
    ]);
    assert_eq!(
        given.unwrap(),
        Settings {
            instance: instance("shop/web.1", "n2"),
            listen: "127.0.0.2:31022".parse().unwrap(),
            dns: Some("127.0.0.2:7453".parse().unwrap()),
            app: "boutique".into(),
            domain: "example.internal".into(),
        }
    );
}

#[test]
fn what_the_environment_does_not_tell_has_a_default() {
    let given = settings(&[("PORT_HTTP", "80"), ("TAFFETA_ADDRESS", ""), ("TAFFETA_DNS", "127.0.0.1")]).unwrap();
    assert_eq!(given.listen, "127.0.0.1:80".parse().unwrap());
    assert_eq!(given.dns, Some("127.0.0.1:53".parse().unwrap()));
    assert_eq!((given.instance, given.app.as_str()), (instance("web", "-"), "shop"));
    assert_eq!(given.domain, "fabric.internal");
}

#[test]
fn a_variable_that_makes_no_sense_is_named() {
    for (variable, value) in [("PORT_HTTP", "http"), ("TAFFETA_ADDRESS", "n2"), ("TAFFETA_DNS", "n2:53")] {
        let error = settings(&[("PORT_HTTP", "80"), (variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains(value), "{error}");
    }
    assert!(settings(&[]).unwrap_err().to_string().contains("PORT_HTTP"));
}

#[test]
fn web_without_a_dns_server_does_not_start() {
    let settings = settings(&[("PORT_HTTP", "80")]).unwrap();
    assert!(web::router(settings, Dice::new(1)).unwrap_err().to_string().contains("TAFFETA_DNS"));
}

#[test]
fn an_unknown_program_and_an_argument_are_refused() {
    assert!(run("shop", &[]).unwrap_err().to_string().contains("web, orders, inventory, migrate"));
    assert!(run("migrate", &["--fast".into()]).unwrap_err().to_string().contains("--fast"));
}

/// The shop ships no files.
struct NoFiles;

impl FileSource for NoFiles {
    fn read(&mut self, name: &str) -> Result<ShippedFile, String> {
        Err(format!("`{name}` is not shipped"))
    }
}

#[test]
fn the_app_file_runs_each_program_in_order() {
    let app = parse_app_file(SHOP_TOML, &mut NoFiles).unwrap();
    assert_eq!(app.name.as_str(), "shop");
    let names: Vec<&str> = app.jobs.keys().map(JobName::as_str).collect();
    let mut programs = PROGRAMS;
    programs.sort_unstable();
    assert_eq!(names, programs);
    for (name, job) in &app.jobs {
        assert_eq!(job.run, ["taffeta", "example", name.as_str()]);
        let after: Vec<&str> = job.after.iter().map(JobName::as_str).collect();
        let (count, expected): (u32, &[&str]) = match name.as_str() {
            "web" => (3, &["orders", "inventory"]),
            "orders" => (2, &["migrate"]),
            "inventory" => (2, &[]),
            _ => (1, &[]),
        };
        assert_eq!((job.count, after.as_slice()), (count, expected), "{name}");
    }
}
