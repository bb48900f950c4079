//! Resolvers in front of us, as a site that has one already would have them.

use crate::{
    program::{Program, eventually, free_port, installed, lines},
    served::{CROWD, DOMAIN, GIVEN_MAX, Served, name, web, words},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Starts of a resolver whose port somebody else took.
const STARTS_MAX: u32 = 5;

/// A resolver that sends our names to us.
struct Resolver {
    port: u16,
    _program: Program,
    _folder: TempDir,
}

impl Resolver {
    /// Starts one; `command` is given its folder, its port, and ours.
    fn start(served: &Served, command: impl Fn(&Path, u16, u16) -> Command) -> Self {
        for _ in 0..STARTS_MAX {
            let (folder, port) = (TempDir::new().unwrap(), free_port());
            let mut program = Program::start(&mut command(folder.path(), port, served.port()));
            while program.runs() {
                if dig(port, &[&name("web"), "A", "+tries=1"]).contains("status: NOERROR") {
                    return Self { port, _program: program, _folder: folder };
                }
            }
        }
        panic!("the resolver does not start");
    }

    fn ask(&self, name: &str, record_type: &str) -> String {
        dig(self.port, &[name, record_type])
    }

    fn short(&self, name: &str, record_type: &str) -> Vec<String> {
        lines(&dig(self.port, &[name, record_type, "+short"])).into_iter().collect()
    }

    fn assert_hands_on(&self, served: &Served) {
        let web_name = name("web");
        eventually("addresses", &words(&web()), || self.short(&web_name, "A").into_iter().collect());
        let srv = [1, 2].map(|n| format!("0 10 31000 {n}.{web_name}."));
        assert_eq!(self.short(&format!("_http._tcp.{web_name}"), "SRV"), srv);
        assert_eq!(self.short(&format!("1.{web_name}"), "A"), ["10.1.0.1"]);
        // More than a datagram has room for, so the resolver has to come by a stream.
        assert_eq!(self.short(&name("crowd"), "A").len(), GIVEN_MAX);
        for (service, status) in [("idle", "NOERROR"), ("nosuch", "NXDOMAIN")] {
            let reply = self.ask(&name(service), "A");
            assert!(reply.contains(&format!("status: {status}")), "{reply}");
            assert!(reply.contains("SOA"), "{reply}");
        }
        // What exists is not hidden by what was said of its neighbours and its other types.
        assert_eq!(self.short(&web_name, "AAAA"), [""; 0]);
        assert_eq!(self.short(&format!("2.{web_name}"), "A"), ["10.1.0.2"]);
        self.assert_follows(served);
    }

    /// Caches keep an answer for a second, also "no such name".
    fn assert_follows(&self, served: &Served) {
        let moved = [[10, 9, 0, 9].into()];
        for service in ["web", "idle", "nosuch"] {
            served.set(service, &moved, 31001);
            eventually(service, &words(&moved), || self.short(&name(service), "A").into_iter().collect());
        }
    }
}

/// What dig prints; of a resolver that does not answer it says so.
fn dig(port: u16, words: &[&str]) -> String {
    let mut dig = Command::new("dig");
    dig.args(["@127.0.0.1", "-p", &port.to_string(), "+time=5"]).args(words).stdin(Stdio::null());
    String::from_utf8_lossy(&dig.output().unwrap().stdout).into_owned()
}

#[test]
fn unbound_in_front_hands_on_our_answers_and_follows_them() {
    if !installed([("unbound-checkconf", "unbound"), ("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    Resolver::start(&served, unbound).assert_hands_on(&served);
}

fn unbound(folder: &Path, port: u16, ours: u16) -> Command {
    let path = folder.display();
    // A validator with an anchor at the root would call our names bogus, were they not said to be unsigned.
    let text = format!(
        "server:\n  directory: \"{path}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"{path}/pid\"\n  \
         use-syslog: no\n  logfile: \"{path}/log\"\n  num-threads: 1\n  interface: 127.0.0.1@{port}\n  \
         access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  use-caps-for-id: yes\n  \
         qname-minimisation: yes\n  harden-below-nxdomain: yes\n  module-config: \"validator iterator\"\n  \
         trust-anchor: \". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\"\n  \
         domain-insecure: \"{DOMAIN}\"\nremote-control:\n  control-enable: no\n\
         stub-zone:\n  name: \"{DOMAIN}\"\n  stub-addr: 127.0.0.1@{ours}\n"
    );
    let config = folder.join("unbound.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new("unbound");
    command.arg("-d").arg("-c").arg(config);
    command
}

#[test]
fn bind_in_front_hands_on_our_answers_and_follows_them() {
    if !installed([("named", "bind9"), ("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    Resolver::start(&served, named).assert_hands_on(&served);
}

fn named(folder: &Path, port: u16, ours: u16) -> Command {
    // As it comes, it refuses sets of more than 100 records (`max-records-per-type`).
    let zone = format!("type forward;\n  forward only;\n  forwarders {{ 127.0.0.1 port {ours}; }};");
    named_with(folder, port, &zone)
}

#[test]
fn bind_as_a_secondary_has_the_whole_zone() {
    if !installed([("named", "bind9"), ("dig", "bind9-dnsutils")]) {
        return;
    }
    let served = Served::start();
    let secondary = Resolver::start(&served, |folder, port, ours| {
        let path = folder.display();
        let zone = format!("type secondary;\n  file \"{path}/zone\";\n  primaries {{ 127.0.0.1 port {ours}; }};");
        named_with(folder, port, &zone)
    });
    assert_eq!(secondary.short(&name("web"), "A"), ["10.1.0.1", "10.1.0.2"]);
    assert_eq!(secondary.short(&name("crowd"), "A").len(), GIVEN_MAX);
    assert_eq!(secondary.short(&format!("{CROWD}.{}", name("crowd")), "A").len(), 1);
    // A name without records is in no transfer, so of a service without instances it says that there is no such name.
    let reply = secondary.ask(&name("nosuch"), "A");
    assert!(reply.contains("status: NXDOMAIN"), "{reply}");
}

/// With what it is to do for our zone.
fn named_with(folder: &Path, port: u16, zone: &str) -> Command {
    let path = folder.display();
    let text = format!(
        "options {{\n  directory \"{path}\";\n  pid-file \"{path}/pid\";\n  session-keyfile \"{path}/key\";\n  \
         listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  recursion yes;\n  notify no;\n  \
         allow-query {{ 127.0.0.0/8; }};\n  dnssec-validation no;\n}};\ncontrols {{ }};\n\
         zone \"{DOMAIN}\" {{\n  {zone}\n}};\n"
    );
    let config = folder.join("named.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new("named");
    command.args(["-g", "-n", "1", "-c"]).arg(config).stderr(Stdio::null());
    command
}
