//! Proxies that find what is behind them by asking us.

use crate::{
    program::{Program, eventually, installed},
    served::{Served, name},
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
};
use tempfile::TempDir;

#[test]
fn haproxy_has_a_server_for_each_instance_of_a_service() {
    if !installed([("haproxy", "haproxy")]) {
        return;
    }
    let (served, folder) = (Served::start(), TempDir::new().unwrap());
    let socket = folder.path().join("stats");
    let config = folder.path().join("haproxy.cfg");
    fs::write(&config, haproxy_config(&socket, served.address())).unwrap();
    let _haproxy = Program::start(Command::new("haproxy").arg("-db").arg("-f").arg(&config));

    let three: [IpAddr; 3] = [[10, 1, 0, 1], [10, 1, 0, 2], [10, 1, 0, 3]].map(Into::into);
    for (addresses, port) in [(&three[..2], 31000), (&three[..], 31000), (&three[1..], 31000), (&three[..1], 32000)] {
        served.set("web", addresses, port);
        let expected: BTreeSet<_> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        eventually("servers of HAProxy", &expected, || haproxy_servers(&socket));
    }
    served.set("web", &[], 31000);
    eventually("servers of HAProxy", &BTreeSet::new(), || haproxy_servers(&socket));
}

/// Without the last `hold` it keeps servers for 30 s after the last instance has gone.
fn haproxy_config(socket: &Path, ours: SocketAddr) -> String {
    format!(
        "global\n  stats socket {socket} mode 600 level admin\n\
         defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n\
         resolvers fabric\n  nameserver own {ours}\n  accepted_payload_size 1232\n  timeout resolve 200ms\n  \
         timeout retry 200ms\n  hold valid 200ms\n  hold obsolete 0s\n  hold nx 0s\n  hold other 0s\n\
         backend web\n  \
         server-template web 5 _http._tcp.{name} resolvers fabric resolve-prefer ipv4 init-addr none\n",
        socket = socket.display(),
        name = name("web"),
    )
}

/// The servers that it sends to, by its own account.
fn haproxy_servers(socket: &Path) -> BTreeSet<SocketAddr> {
    let mut state = String::new();
    // It may not listen yet.
    if let Ok(mut stats) = UnixStream::connect(socket) {
        stats.write_all(b"show servers state web\n").unwrap();
        stats.read_to_string(&mut state).unwrap();
    }
    state.lines().filter_map(haproxy_server).collect()
}

/// Columns 5, 6 and 19 are address, state (0: not in use, 2: running) and port.
fn haproxy_server(line: &str) -> Option<SocketAddr> {
    let columns: Vec<&str> = line.split(' ').collect();
    let (address, state, port) = (columns.get(4)?, columns.get(5)?, columns.get(18)?);
    let address = address.parse().ok().filter(|_| *state == "2")?;
    Some(SocketAddr::new(address, port.parse().ok()?))
}

#[test]
fn nginx_sends_to_the_instances_that_there_are() {
    if !installed([("nginx", "nginx-light")]) {
        return;
    }
    let (served, folder) = (Served::start(), TempDir::new().unwrap());
    let (addresses, port) = web_servers();
    served.set("web", &addresses, port);
    let socket = folder.path().join("http");
    let config = folder.path().join("nginx.conf");
    fs::write(&config, nginx_config(folder.path(), &socket, served.address(), port)).unwrap();
    let _nginx = Program::start(Command::new("nginx").arg("-p").arg(folder.path()).arg("-c").arg(&config));

    for there in [&addresses[..], &addresses[..1], &addresses[1..], &addresses[..]] {
        served.set("web", there, port);
        let expected = there.iter().map(ToString::to_string).collect();
        eventually("instances behind nginx", &expected, || {
            (0..16).filter_map(|_| get(&socket)).collect::<BTreeSet<_>>()
        });
    }
    served.set("web", &[], port);
    eventually("nothing is behind nginx", &None, || get(&socket));
}

fn nginx_config(folder: &Path, socket: &Path, ours: SocketAddr, port: u16) -> String {
    let path = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {path}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nerror_log stderr crit;\npid {path}/pid;\nevents {{}}\nhttp {{\n  \
         access_log off;\n{temporary}  resolver {ours} valid=1s;\n  resolver_timeout 2s;\n  server {{\n    \
         listen unix:{socket};\n    location / {{\n      set $instances {name};\n      set $port {port};\n      \
         proxy_pass http://$instances:$port;\n    }}\n  }}\n}}\n",
        socket = socket.display(),
        name = name("web"),
    )
}

/// The body of a reply of 200.
fn get(socket: &PathBuf) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Two servers that say their addresses, at the same port.
fn web_servers() -> ([IpAddr; 2], u16) {
    let addresses: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
    let (listeners, port) = loop {
        let first = TcpListener::bind((addresses[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind((addresses[1], port)) {
            break ([first, second], port);
        }
    };
    for (listener, address) in listeners.into_iter().zip(addresses) {
        // Ends with the process of the tests.
        thread::spawn(move || listener.incoming().for_each(|stream| drop(stream.map(|s| say(s, address)))));
    }
    (addresses, port)
}

fn say(stream: std::net::TcpStream, address: IpAddr) -> std::io::Result<()> {
    let mut request = BufReader::new(&stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(&stream, "HTTP/1.0 200 OK\r\n\r\n{address}")
}
