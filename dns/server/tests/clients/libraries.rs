//! Programs that know nothing of us: they ask their library, which asks who is in resolv.conf.

use crate::{
    namespace,
    program::{eventually, installed, lines, output},
    served::{GIVEN_MAX, Served, both, name, web, words},
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};
use tempfile::TempDir;

const DNS: u16 = 53;

#[test]
fn getent_finds_services() {
    if !namespace::enter("libraries::getent_finds_services") || !installed([("getent", "libc-bin")]) {
        return;
    }
    let served = Served::at(DNS);
    // Of one family alone it would give none, as this network has no address but that of loopback (AI_ADDRCONFIG).
    let ask = |name: &str| first_words(&output(Command::new("getent").args(["ahosts", name])));
    assert_eq!(ask(&name("web")), words(&web()));
    assert_eq!(ask(&name("both")), words(&both()));
    assert_eq!(ask("web"), words(&web()), "by the search list");
    let reverse = output(Command::new("getent").args(["hosts", "10.1.0.1"]));
    assert_eq!(reverse.split_whitespace().nth(1), Some(&format!("1.{}", name("web"))[..]), "{reverse}");
    assert_eq!(ask(&name("crowd")).len(), GIVEN_MAX, "by a stream");
    for nothing in ["idle", "nosuch"] {
        let asked = Command::new("getent").args(["ahosts", &name(nothing)]).output().unwrap();
        assert_eq!(asked.status.code(), Some(2), "{nothing}");
    }
    let moved = [[10, 9, 0, 9].into()];
    served.set("idle", &moved, 31000);
    assert_eq!(ask(&name("idle")), words(&moved));
}

/// Of each line; getent has an address there, once for each kind of socket.
fn first_words(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

const C_PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints, *found, *each;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    int error = getaddrinfo(argv[1], "80", &hints, &found);
    if (error) {
        printf("%s\n", gai_strerror(error));
        return 2;
    }
    for (each = found; each; each = each->ai_next) {
        char text[INET6_ADDRSTRLEN];
        void *address = each->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
        puts(inet_ntop(each->ai_family, address, text, sizeof text));
    }
    return 0;
}
"#;

#[test]
fn musl_finds_services() {
    if !namespace::enter("libraries::musl_finds_services") || !installed([("musl-gcc", "musl-tools")]) {
        return;
    }
    let (served, folder) = (Served::at(DNS), TempDir::new().unwrap());
    let (source, program) = (folder.path().join("find.c"), folder.path().join("find"));
    fs::write(&source, C_PROGRAM).unwrap();
    output(Command::new("musl-gcc").arg("-static").arg("-o").arg(&program).arg(&source));
    let ask = |name: &str| lines(&output(Command::new(&program).arg(name)));
    // It asks for both families at once, and takes NXDOMAIN of one for that of both.
    assert_eq!(ask(&name("web")), words(&web()));
    assert_eq!(ask(&name("both")), words(&both()));
    assert_eq!(ask("web"), words(&web()), "by the search list");
    for nothing in ["idle", "nosuch"] {
        let asked = Command::new(&program).arg(name(nothing)).output().unwrap();
        assert_eq!(asked.status.code(), Some(2), "{nothing}");
    }
    // As many as fit into what a client without EDNS takes; older musl does not come by a stream.
    let many: Vec<IpAddr> = (1..=25).map(|n| [10, 9, 0, n].into()).collect();
    served.set("web", &many, 31000);
    assert_eq!(ask(&name("web")), words(&many));
}

const PYTHON_PROGRAM: &str = "
import socket, sys
for found in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM):
    print(found[4][0])
";

#[test]
fn python_finds_services() {
    if !namespace::enter("libraries::python_finds_services") || !installed([("python3", "python3-minimal")]) {
        return;
    }
    let _served = Served::at(DNS);
    let ask = |name: &str| lines(&output(Command::new("python3").args(["-c", PYTHON_PROGRAM, name])));
    assert_eq!(ask(&name("web")), words(&web()));
    assert_eq!(ask(&name("both")), words(&both()));
    assert_eq!(ask("web"), words(&web()), "by the search list");
    let nothing = Command::new("python3").args(["-c", PYTHON_PROGRAM, &name("nosuch")]).output().unwrap();
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("gaierror"), "{nothing:?}");
}

/// Prints the addresses of each name that it reads.
const JAVA_PROGRAM: &str = r#"
import java.io.*;
import java.net.*;

public class Find {
    public static void main(String[] words) throws IOException {
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            StringBuilder found = new StringBuilder();
            try {
                for (InetAddress each : InetAddress.getAllByName(name)) found.append(each.getHostAddress()).append(' ');
            } catch (UnknownHostException e) {
                found.append("unknown");
            }
            System.out.println(found.toString().trim());
        }
    }
}
"#;

#[test]
fn a_jvm_finds_services_and_follows_them() {
    if !namespace::enter("libraries::a_jvm_finds_services_and_follows_them") || !has_java_compiler() {
        return;
    }
    let (served, folder) = (Served::at(DNS), TempDir::new().unwrap());
    let source = folder.path().join("Find.java");
    fs::write(&source, JAVA_PROGRAM).unwrap();
    let mut command = Command::new("java");
    // As it comes, it keeps addresses for 30 s and failures for 10 s.
    command.args(["-Dsun.net.inetaddr.ttl=1", "-Dsun.net.inetaddr.negative.ttl=1", "-XX:TieredStopAtLevel=1"]);
    let mut child = command.arg(&source).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut java = Java { to: child.stdin.take().unwrap(), from: BufReader::new(child.stdout.take().unwrap()) };
    assert_eq!(java.ask(&name("web")), words(&web()));
    assert_eq!(java.ask(&name("idle")), ["unknown".to_owned()].into());
    let moved = [[10, 9, 0, 9].into()];
    for service in ["web", "idle"] {
        served.set(service, &moved, 31000);
        eventually(service, &words(&moved), || java.ask(&name(service)));
    }
    drop(java);
    assert!(child.wait().unwrap().success());
}

struct Java {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Java {
    fn ask(&mut self, name: &str) -> BTreeSet<String> {
        writeln!(self.to, "{name}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    }
}

fn has_java_compiler() -> bool {
    let modules = Command::new("java").arg("--list-modules").stdin(Stdio::null()).output();
    let has = modules.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("jdk.compiler"));
    if !has {
        eprintln!("SKIPPED: there is no Java with a compiler (Debian: default-jdk-headless)");
    }
    has
}
