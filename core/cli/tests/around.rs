//! What a task finds around itself, seen from inside of tasks, with real processes: names, files of its machine, memory,
//! fetched files.

#[path = "around/apart.rs"]
mod apart;
mod support;

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{alone, binary};
use taffeta_harness::{Cluster, Machine, ask, within};

const SOON: Duration = Duration::from_secs(40);

/// A service that does nothing.
const IDLE: &str = "run = [\"sleep\", \"600\"]\ncpus = 0.01\nmemory = \"8MiB\"\n";

fn cluster(flags: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(binary());
    cluster.start_each(&[flags]);
    cluster.wait_ready();
    cluster
}

fn deploy(cluster: &Cluster, name: &str, text: &str) {
    let path = cluster.root().join(format!("{name}.toml"));
    fs::write(&path, format!("app = \"{name}\"\n{text}")).expect("an app file");
    cluster.machines[0].run(&["deploy", &path.to_string_lossy()]).success();
}

/// A batch job that runs a script in a shell.
fn batch(name: &str, script: &str, more: &str) -> String {
    format!(
        "[batch.{name}]\nrun = [\"sh\", \"-c\", {script:?}]\ncpus = 0.01\nmemory = \"64MiB\"\nretries = 0\n{more}\n"
    )
}

fn task(machine: &Machine, name: &str) -> Result<Value, String> {
    let (app, task) = name.split_once('/').expect("APP/TASK");
    let tasks = machine.try_json(&["ps"])?;
    let is_it = |known: &&Value| known["app"] == app && known["task"] == task;
    let found = tasks.as_array().into_iter().flatten().find(is_it).cloned();
    found.ok_or_else(|| format!("no {name} in {tasks}"))
}

/// Waits until a batch task has ended, and gives what it wrote.
fn output_of(machine: &Machine, name: &str) -> String {
    within(SOON, &format!("{name} ends"), || match task(machine, name)? {
        ended if ["finished", "failed"].contains(&ended["state"].as_str().unwrap_or_default()) => Ok(()),
        other => Err(other.to_string()),
    });
    let logs = machine.run(&["logs", name]);
    assert_eq!(task(machine, name).expect("a task")["state"], "finished", "{}{}", logs.stdout, logs.stderr);
    logs.stdout
}

/// Waits until it is said of a task why it does not start.
fn wait_for_reason(machine: &Machine, name: &str, word: &str) {
    within(SOON, &format!("{name} says `{word}`"), || match task(machine, name)? {
        found if found["reason"].as_str().is_some_and(|reason| reason.contains(word)) => Ok(()),
        other => Err(other.to_string()),
    });
}

/// Waits until a service's task runs.
fn running(machine: &Machine, name: &str) {
    within(SOON, &format!("{name} runs"), || match task(machine, name)? {
        found if found["state"] == "running" || found["state"] == "healthy" => Ok(()),
        other => Err(other.to_string()),
    });
}

/// Waits until a machine's DNS gives the name of a service.
fn named(machine: &Machine, name: &str) {
    within(SOON, &format!("{} knows {name}", machine.name), || {
        let found = ask(machine.dns(), &format!("{name}.fabric.internal"), "A")?;
        if found.addresses.is_empty() { Err(format!("{found:?}")) } else { Ok(()) }
    });
}

/// Whether tasks get a view of the files of their own here; says so if not.
fn has_own_view(machine: &Machine) -> bool {
    let nodes = machine.try_json(&["nodes"]).expect("nodes");
    let gaps = nodes[0]["not_isolated"].as_array().cloned().unwrap_or_default();
    let lacks = |gap: &Value| ["mount", "names:"].iter().any(|word| gap.as_str().unwrap_or_default().contains(word));
    let lacking: Vec<&Value> = gaps.iter().filter(|gap| lacks(gap)).collect();
    if !lacking.is_empty() {
        eprintln!("SKIPPED: tasks have no view of the files of their own here: {lacking:?}");
    }
    lacking.is_empty()
}

fn has_program(name: &str, package: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {name} cannot be run; it is in the package {package}");
    }
    found
}

/// A resolver that knows one name, and that there is no other.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let question = &packet[12..length];
            let end = question.iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
            let known = question.starts_with(b"\x03www\x07example\x03org\x00");
            let (is_a, code) = (question.get(end - 3) == Some(&1), if known { 0 } else { 3 });
            let answers = u8::from(known && is_a);
            let mut reply = packet[..2].to_vec();
            reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
            reply.extend(&question[..end]);
            if answers == 1 {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80]);
            }
            let _ = socket.send_to(&reply, client);
        }
    });
    address
}

#[test]
fn programs_find_names_without_being_told() {
    let _alone = alone();
    let upstream = upstream().to_string();
    let cluster = cluster(&["--dns-upstream", &upstream]);
    let machine = &cluster.machines[0];
    if !has_own_view(machine) || !has_program("python3", "python3") {
        return;
    }
    let idle = |job: &str, ports: &str| format!("[service.{job}]\n{IDLE}ports = [{ports}]\n");
    deploy(&cluster, "other", &(idle("orders", "\"http\"") + &idle("web", "")));
    // Both apps have `orders`; whose it is shows by the tasks that are behind it, as one has two.
    let two = idle("orders", "\"http\"").replace("ports", "count = 2\nports");
    // Resolvers ask again after five seconds.
    let look = "import socket, sys, time\n\
                def find(name):\n    begun = time.time()\n    try:\n        found = sorted({a[4][0] for a in socket.getaddrinfo(name, None)})\n\
                \x20   except socket.gaierror as e:\n        found = ['none']\n\
                \x20   print(name, *found, 'quick' if time.time() - begun < 4 else 'slow')\n\
                [find(name) for name in sys.argv[1:]]\n";
    fs::write(cluster.root().join("look.py"), look).expect("a file");
    let names = "orders orders.other web.other orders.shop.fabric.internal www.example.org no-such no-such.other";
    let script = format!("cat /etc/resolv.conf; getent ahostsv4 orders; python3 look.py {names}");
    deploy(&cluster, "shop", &two);
    for task in ["other/orders.1", "other/web.1", "shop/orders.1", "shop/orders.2"] {
        running(machine, task);
    }
    ["orders.other", "web.other", "orders.shop"].iter().for_each(|name| named(machine, name));
    deploy(&cluster, "shop", &(two + &batch("look", &script, "files = [\"look.py\"]\nafter = [\"orders\"]")));
    let said = output_of(machine, "shop/look.1");
    let own = machine.address;
    let server: IpAddr =
        said.lines().next().and_then(|line| line.strip_prefix("nameserver ")?.parse().ok()).expect(&said);
    assert!(server.is_loopback() && server.to_string().starts_with("127.84."), "{said}");
    for wanted in [
        "search shop.fabric.internal fabric.internal".to_owned(),
        "options ndots:1".into(),
        format!("orders {own} quick"),
        format!("orders.other {own} quick"),
        format!("web.other {own} quick"),
        format!("orders.shop.fabric.internal {own} quick"),
        "www.example.org 192.0.2.80 quick".into(),
        "no-such none quick".into(),
        "no-such.other none quick".into(),
    ] {
        assert!(said.lines().any(|line| line == wanted), "`{wanted}` in {said}");
    }
    let by_getent = said.lines().filter(|line| line.contains("STREAM")).count();
    assert!(by_getent >= 1, "getent finds it: {said}");
    // Each app's own instances are behind its name, and none of the other's.
    let server = SocketAddr::new(server, 53);
    for (name, count) in [("orders.shop.fabric.internal", 2), ("orders.other.fabric.internal", 1)] {
        within(SOON, &format!("{count} instances are behind {name}"), || {
            let found = ask(server, name, "SRV")?.services;
            if found.len() == count { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }
    let gives = [(server, vec![own], "completed by the node"), (machine.dns(), vec![], "and only for tasks")];
    for (server, expected, what) in gives {
        within(SOON, what, || match ask(server, "web.other", "A")?.addresses {
            found if found == expected => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn a_bare_name_is_that_of_the_own_app() {
    let _alone = alone();
    let mut cluster = Cluster::new(binary());
    cluster.start_each(&[&[], &[]]);
    cluster.wait_ready();
    if !has_own_view(&cluster.machines[0]) {
        return;
    }
    // Each app's `orders` is on another machine, whose address tells whose it is.
    let orders = |node: &str| format!("[service.orders]\n{IDLE}constraints = [\"hostname IS {node}\"]\n");
    let apps = [("one", orders("n1")), ("two", orders("n2"))];
    apps.iter().for_each(|(app, orders)| deploy(&cluster, app, orders));
    for machine in &cluster.machines {
        ["orders.one", "orders.two"].iter().for_each(|name| named(machine, name));
    }
    let look =
        batch("look", "getent ahostsv4 orders | head -1; getent ahostsv4 orders.one | head -1", "after = [\"orders\"]");
    apps.iter().for_each(|(app, orders)| deploy(&cluster, app, &format!("{orders}{look}")));
    let addresses: Vec<String> = cluster.machines.iter().map(|machine| machine.address.to_string()).collect();
    for (app, own) in [("one", &addresses[0]), ("two", &addresses[1])] {
        let said = output_of(&cluster.machines[0], &format!("{app}/look.1"));
        let found: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(found, [own.as_str(), addresses[0].as_str()], "{said}");
    }
}

#[test]
fn a_node_that_cannot_answer_tasks_goes_on_and_says_so() {
    let _alone = alone();
    let taken = match UdpSocket::bind("127.84.255.253:53") {
        Ok(taken) => taken,
        Err(e) => return eprintln!("SKIPPED: port 53 cannot be had here: {e}"),
    };
    let cluster = cluster(&["--task-dns", "127.84.255.253"]);
    let machine = &cluster.machines[0];
    let nodes = machine.try_json(&["nodes"]).expect("nodes");
    let gaps = nodes[0]["not_isolated"].to_string();
    assert!(gaps.contains("127.84.255.253:53") && gaps.contains("--task-dns"), "{gaps}");
    let log = fs::read_to_string(machine.log()).expect("a log");
    assert_eq!(log.matches("127.84.255.253:53").count(), 1, "it is said once: {log}");
    deploy(&cluster, "shop", &batch("look", "cat /etc/resolv.conf", ""));
    let said = output_of(machine, "shop/look.1");
    assert_eq!(said, fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), "it sees the machine's");
    drop(taken);
}

#[test]
fn what_is_allowed_of_the_machine_is_mounted_and_nothing_else() {
    let _alone = alone();
    let shared = tempfile::tempdir().expect("a folder");
    let shared = fs::canonicalize(shared.path()).expect("a path");
    for folder in ["site", "scratch"] {
        fs::create_dir_all(shared.join(folder)).expect("a folder");
    }
    fs::write(shared.join("site/index.html"), "hello").expect("a file");
    std::os::unix::fs::symlink("/etc", shared.join("scratch/out")).expect("a link");
    let path = |of: &str| shared.join(of).display().to_string();
    let (only_read, all) = (path("site") + ":ro", path("scratch"));
    let cluster = cluster(&["--allow-host-path", &only_read, "--allow-host-path", &all]);
    let machine = &cluster.machines[0];
    let mount = |host: &str, more: &str| format!("mounts = [{{ host = \"{host}\", at = \"/mnt\"{more} }}]");
    let (site, scratch) = (path("site"), path("scratch"));
    deploy(&cluster, "no", &batch("etc", "true", &mount("/etc", ", read_only = true")));
    deploy(&cluster, "ro", &batch("site", "true", &mount(&site, "")));
    deploy(&cluster, "out", &batch("link", "true", &mount(&format!("{scratch}/out"), "")));
    wait_for_reason(machine, "out/link.1", "leads to /etc, which is not allowed");
    wait_for_reason(machine, "no/etc.1", "the host path /etc is not allowed on this machine");
    wait_for_reason(machine, "no/etc.1", "--allow-host-path /etc:ro");
    wait_for_reason(machine, "ro/site.1", "only to be read");
    within(SOON, "`why` says so, too", || {
        let why = machine.run(&["why", "no/etc.1"]).stdout;
        if why.contains("--allow-host-path /etc:ro") { Ok(()) } else { Err(why) }
    });
    if !has_own_view(machine) {
        return;
    }
    let bare = "isolation = \"none\"\n";
    let in_vain = format!("{bare}{}", mount(&site, ", read_only = true"));
    deploy(&cluster, "bare", &(batch("names", "cat /etc/resolv.conf", bare) + &batch("site", "true", &in_vain)));
    assert_eq!(output_of(machine, "bare/names.1"), fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    wait_for_reason(machine, "bare/site.1", "nothing can be mounted without the measure mount-namespace");
    let read = "cat /mnt/index.html; echo x > /mnt/new && echo written || echo refused";
    deploy(&cluster, "read", &batch("look", read, &mount(&site, ", read_only = true")));
    assert_eq!(output_of(machine, "read/look.1"), "hellorefused\n");
    deploy(&cluster, "write", &batch("look", "echo kept > /mnt/new && cat /mnt/new", &mount(&scratch, "")));
    assert_eq!(output_of(machine, "write/look.1"), "kept\n");
    assert_eq!(fs::read_to_string(shared.join("scratch/new")).expect("it is there"), "kept\n");
    let memory = "stat -f -c %T /mnt; head -c 2000000 /dev/zero > /mnt/x || echo full";
    deploy(&cluster, "mem", &batch("look", memory, "tmpfs = [{ at = \"/mnt\", size = \"1MiB\" }]"));
    assert_eq!(output_of(machine, "mem/look.1"), "tmpfs\nfull\n");
    let both = "echo one > data/x; cat /mnt/x; echo two > /mnt/x; cat data/x";
    deploy(&cluster, "vol", &batch("look", both, "volume = { name = \"data\", size = \"1MiB\", at = \"/mnt\" }"));
    assert_eq!(output_of(machine, "vol/look.1"), "one\ntwo\n");
}

/// What a server has been asked for, and what it answers: the whole answer, head and body.
type Pages = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(pages: Pages, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let (address, asked) = (listener.local_addr().expect("bound"), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, tls, counted) = (Arc::clone(&pages), tls.clone(), Arc::clone(&counted));
                std::thread::spawn(move || match tls {
                    None => answer(stream, &pages, &counted),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).expect("a connection");
                        answer(rustls::StreamOwned::new(connection, stream), &pages, &counted);
                    }
                });
            }
        });
        Self { address, asked }
    }
}

fn answer(mut stream: impl Read + Write, pages: &Pages, counted: &AtomicUsize) {
    let mut request = [0; 4096];
    let Ok(length) = stream.read(&mut request) else { return };
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let Some(path) = request.split(' ').nth(1) else { return };
    counted.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(&pages(path));
    let _ = stream.flush();
}

fn page(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn digest(body: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar of files, made by the system's own; `None`, said aloud, without one.
fn archive(root: &Path, name: &str, files: &[(&str, &str)]) -> Option<Vec<u8>> {
    let folder = root.join(name);
    for (file, body) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent()?).ok()?;
        fs::write(path, body).ok()?;
    }
    has_program("tar", "tar").then(|| {
        let output = Command::new("tar").arg("-czC").arg(&folder).arg(".").output().expect("tar runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    })
}

#[test]
fn files_are_fetched_checked_placed_and_kept() {
    let _alone = alone();
    let cluster = cluster(&["--fetch-max", "1MiB"]);
    let machine = &cluster.machines[0];
    let Some(packed) = archive(cluster.root(), "tree", &[("bin/tool", "#!/bin/sh\necho tool"), ("note", "packed")])
    else {
        return;
    };
    let bodies: BTreeMap<&str, Vec<u8>> =
        [("/hello", b"#!/bin/sh\necho hello".to_vec()), ("/x.tar.gz", packed), ("/large", vec![0; 2 << 20])].into();
    let served = bodies.clone();
    let server = Server::start(
        Arc::new(move |path| match served.get(path) {
            Some(body) => page(body),
            None if path == "/moved" => b"HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\n\r\n".to_vec(),
            None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        }),
        None,
    );
    let of = |path: &str, like: &str| format!("http://{}{path}#sha256={}", server.address, digest(&bodies[like]));
    let hello = of("/moved", "/hello");
    let wanted = format!(
        "fetch = [{{ url = \"{hello}\", name = \"hello\", executable = true }}, {{ url = \"{}\", unpack = true }}, \"{}\"]",
        of("/x.tar.gz", "/x.tar.gz"),
        of("/x.tar.gz", "/x.tar.gz"),
    );
    let script = "./hello; cat note; sh bin/tool; stat -c %a hello x.tar.gz; ls";
    deploy(&cluster, "get", &batch("look", script, &wanted));
    assert_eq!(output_of(machine, "get/look.1"), "hello\npackedtool\n755\n644\nbin\nhello\nnote\nx.tar.gz\n");
    let asked = server.asked.load(Ordering::SeqCst);
    assert_eq!(asked, 3, "the redirection, its end, and the archive once for two");

    // What others get is not touched by what a task does to its own.
    let spoil = format!("fetch = [{{ url = \"{hello}\", name = \"hello\" }}]");
    deploy(&cluster, "spoil", &batch("look", "echo evil > hello", &spoil));
    output_of(machine, "spoil/look.1");
    deploy(&cluster, "again", &batch("look", "cat hello", &spoil));
    assert_eq!(output_of(machine, "again/look.1"), "#!/bin/sh\necho hello");
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "nothing was fetched again");

    let wrong = format!("fetch = [\"http://{}/hello#sha256={}\"]", server.address, digest(b"other"));
    deploy(&cluster, "wrong", &batch("look", "true", &wrong));
    let large = format!("fetch = [\"{}\"]", of("/large", "/large"));
    deploy(&cluster, "large", &batch("look", "true", &large));
    let none = format!("fetch = [\"http://{}/none#sha256={}\"]", server.address, digest(b"other"));
    deploy(&cluster, "none", &batch("look", "true", &none));
    wait_for_reason(machine, "wrong/look.1", "is not what was asked for: its SHA-256 is");
    wait_for_reason(machine, "large/look.1", "this machine fetches up to 1 MiB (--fetch-max)");
    wait_for_reason(machine, "none/look.1", "HTTP 404 Not Found");
    assert_eq!(task(machine, "wrong/look.1").expect("a task")["state"], "failed", "it will not get better");
    assert_eq!(task(machine, "none/look.1").expect("a task")["state"], "starting", "it may be there later");
}

#[test]
fn archives_that_would_do_harm_are_refused_with_their_reason() {
    let _alone = alone();
    let cluster = cluster(&["--fetch-max", "1MiB"]);
    let machine = &cluster.machines[0];
    if !has_program("python3", "python3") {
        return;
    }
    let make = "import io, sys, tarfile\n\
                kind, path = sys.argv[1:]\n\
                with tarfile.open(path, 'w:gz') as t:\n    i = tarfile.TarInfo('x')\n\
                \x20   if kind == 'path': i.name = '../../escaped'\n\
                \x20   if kind == 'link': i.type, i.linkname = tarfile.SYMTYPE, '../../..'\n\
                \x20   if kind == 'pipe': i.type = tarfile.FIFOTYPE\n\
                \x20   if kind == 'bomb': i.size = 5 << 20\n\
                \x20   t.addfile(i, io.BytesIO(bytes(i.size)))\n";
    let mut bodies = BTreeMap::new();
    for kind in ["path", "link", "pipe", "bomb"] {
        let path = cluster.root().join(format!("{kind}.tgz"));
        let made = Command::new("python3").args(["-c", make, kind]).arg(&path).status().expect("python3 runs");
        assert!(made.success());
        bodies.insert(format!("/{kind}"), fs::read(path).expect("an archive"));
    }
    let served = bodies.clone();
    let server = Server::start(Arc::new(move |path| page(&served[path])), None);
    for (kind, word) in [
        ("path", "leads outside"),
        ("link", "leads outside"),
        ("pipe", "is a device, a pipe"),
        ("bomb", "too large together"),
    ] {
        let digest = digest(&bodies[&format!("/{kind}")]);
        let url = format!("http://{}/{kind}#sha256={digest}", server.address);
        deploy(&cluster, kind, &batch("look", "true", &format!("fetch = [{{ url = \"{url}\", unpack = true }}]")));
        wait_for_reason(machine, &format!("{kind}/look.1"), &format!("{kind} cannot be unpacked: "));
        wait_for_reason(machine, &format!("{kind}/look.1"), word);
    }
    let escaped: Vec<PathBuf> = [machine.data.join("escaped"), machine.data.join("tasks/escaped")]
        .into_iter()
        .filter(|path| path.exists())
        .collect();
    assert_eq!(escaped, Vec::<PathBuf>::new());
}

#[test]
fn a_slow_download_is_told_and_ends_with_its_task_and_a_restarted_node_begins_it_anew() {
    let _alone = alone();
    let mut cluster = cluster(&[]);
    let body: Vec<u8> = vec![7; 3 << 20];
    let (served, quick) = (body.clone(), Arc::new(AtomicUsize::new(0)));
    let fast = Arc::clone(&quick);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound");
    let (begun, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, lost) = (Arc::clone(&begun), Arc::clone(&broken));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (served, fast, counted, lost) =
                (served.clone(), Arc::clone(&fast), Arc::clone(&counted), Arc::clone(&lost));
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                counted.fetch_add(1, Ordering::SeqCst);
                let whole = page(&served);
                // A trickle, until somebody lets it go.
                for piece in whole.chunks(10_000) {
                    if stream.write_all(piece).is_err() {
                        lost.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if fast.load(Ordering::SeqCst) == 0 {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            });
        }
    });
    let fetch = format!("fetch = [\"http://{address}/slow.bin#sha256={}\"]", digest(&body));
    deploy(&cluster, "slow", &batch("look", "wc -c < slow.bin", &fetch));
    wait_for_reason(&cluster.machines[0], "slow/look.1", "fetching slow.bin: ");
    wait_for_reason(&cluster.machines[0], "slow/look.1", " of 3 MiB");
    // Others start meanwhile.
    deploy(&cluster, "other", &batch("look", "echo there", ""));
    assert_eq!(output_of(&cluster.machines[0], "other/look.1"), "there\n");
    cluster.machines[0].run(&["stop", "slow"]).success();
    within(SOON, "the download is given up", || match broken.load(Ordering::SeqCst) {
        0 => Err("not yet".into()),
        _ => Ok(()),
    });
    deploy(&cluster, "slow", &batch("look", "wc -c < slow.bin", &fetch));
    within(SOON, "it is begun again", || if begun.load(Ordering::SeqCst) > 1 { Ok(()) } else { Err("not yet".into()) });
    cluster.machines[0].kill_agent();
    quick.store(1, Ordering::SeqCst);
    cluster.machines[0].up_again();
    cluster.wait_ready();
    assert_eq!(output_of(&cluster.machines[0], "slow/look.1").trim(), (3 << 20).to_string());
    let unfinished = cluster.machines[0].data.join("fetched/tmp");
    let left: Vec<_> = fs::read_dir(unfinished).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn https_is_believed_by_the_machines_certificates_alone() {
    let _alone = alone();
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut about = rcgen::CertificateParams::new(vec![]).expect("about it");
    about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = about.self_signed(&key).expect("a CA");
    let issuer = rcgen::Issuer::new(about, key);
    let own = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("about it");
    let certificate = certificate.signed_by(&own, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
    let tls = tls.expect("versions").with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
    let server = Server::start(Arc::new(|_| page(b"secret")), Some(Arc::new(tls.expect("a server"))));

    let mut cluster = cluster(&[]);
    let file = cluster.root().join("ca.pem");
    fs::write(&file, ca.pem()).expect("a file");
    let url = format!("https://localhost:{}/x#sha256={}", server.address.port(), digest(b"secret"));
    deploy(&cluster, "tls", &batch("look", "cat x", &format!("fetch = [\"{url}\"]")));
    within(SOON, "it says why it does not believe", || {
        let reason = task(&cluster.machines[0], "tls/look.1")?["reason"].to_string();
        let why = reason.contains("TLS: ") || reason.contains("CA certificates");
        let told = reason.contains("x cannot be fetched: https://localhost:") && why;
        if told { Ok(()) } else { Err(reason) }
    });
    assert_eq!(cluster.machines[0].terminate(), 0);
    cluster.machines[0].up_with(&[("SSL_CERT_FILE", &file.to_string_lossy())]);
    cluster.wait_ready();
    assert_eq!(output_of(&cluster.machines[0], "tls/look.1"), "secret");
}

#[test]
fn what_a_volume_takes_is_listed_and_told_when_it_is_too_much() {
    let _alone = alone();
    let cluster = cluster(&[]);
    let machine = &cluster.machines[0];
    let script = "head -c 3000000 /dev/zero > data/x; sync; sleep 600";
    let text = format!(
        "[service.db]\nrun = [\"sh\", \"-c\", {script:?}]\ncpus = 0.01\nmemory = \"16MiB\"\n\
         volume = {{ name = \"data\", size = \"1MiB\" }}\n"
    );
    deploy(&cluster, "shop", &text);
    let (listed, _) = within(SOON, "its use is listed", || {
        let volumes = machine.try_json(&["volume", "list"])?;
        match volumes[0].clone() {
            volume if volume["used"].as_u64().is_some_and(|used| used >= 900_000) => Ok(volume),
            volume => Err(volume.to_string()),
        }
    });
    match listed["limit"].as_str() {
        Some("quota") => assert!(listed["over"] == false && listed["used"].as_u64() <= Some(1 << 20), "{listed}"),
        _ => {
            within(SOON, "it is over", || match machine.try_json(&["volume", "list"])?[0].clone() {
                volume if volume["over"] == true && volume["limit"] == "measured" => Ok(()),
                volume => Err(volume.to_string()),
            });
            let shown = machine.run(&["volume", "list"]).stdout;
            assert!(shown.contains("(over)") && shown.contains("measured"), "{shown}");
            within(Duration::from_secs(90), "an event says so", || {
                let events = machine.run(&["events"]).stdout;
                let said = events.lines().filter(|line| line.contains("volume.over")).count();
                if said == 1 { Ok(()) } else { Err(events) }
            });
        }
    }
}
