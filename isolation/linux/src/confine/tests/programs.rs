//! Programs of all kinds that have to work as if nothing were in their way.

use super::{
    super::{Ids, give},
    Place, has,
};
use rustix::process::geteuid;
use std::{fs, net::UdpSocket, time::Duration};
use taffeta_model::Profile;

const PROFILES: [Profile; 2] = [Profile::Standard, Profile::Strict];

#[test]
fn shells_and_their_tools_work() {
    let Some(place) = Place::new() else { return };
    let script = "set -e; ls / /usr > list || true; seq 1000 | sort -rn | head -1; (sleep 0; exit 3) || echo $?; \
                  x=$(date +%Y) && test $x -gt 2000; find . -name list | xargs wc -l > /dev/null; env -i true; \
                  mkfifo f; echo through > f & cat f; wait; cp list copy; cmp list copy; chmod 600 copy; touch -d @0 copy; \
                  tar cf - list | tar tf -";
    for profile in PROFILES {
        let work = place.work();
        fs::read_dir(&work).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
        assert_eq!(place.run(profile, &[], &["sh", "-c", script]).passed(), "1000\n3\nthrough\nlist");
    }
}

#[test]
fn threads_subprocesses_and_sockets_work() {
    let Some(place) = Place::new() else { return };
    if !has(&["python3"]) {
        return;
    }
    let script = r#"
import asyncio, concurrent.futures, hashlib, mmap, multiprocessing, os, queue, random, select, signal, socket, ssl
import sqlite3, subprocess, sys, tempfile, threading, time
def work(n): return sum(range(n))
with concurrent.futures.ThreadPoolExecutor(16) as pool: assert list(pool.map(work, [1000] * 200)) == [499500] * 200
with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(work, [10] * 4) == [45] * 4
assert subprocess.run(['sh', '-c', 'echo $0; exit 4'], capture_output=True).returncode == 4
server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())
client.sendall(b'hi'); assert server.accept()[0].recv(2) == b'hi'
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
assert socket.gethostbyname('localhost').startswith('127.') and socket.if_nameindex()
async def both(): return await asyncio.gather(asyncio.sleep(0, 1), (await asyncio.create_subprocess_exec('true')).wait())
assert asyncio.run(both()) == [1, 0]
signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
db = sqlite3.connect('db'); db.execute('create table t(x)'); db.execute('insert into t values(1)'); db.commit()
m = mmap.mmap(-1, 4096); m[:2] = b'ok'; os.memfd_create('m'); os.getrandom(8); os.sched_getaffinity(0); os.nice(1)
with tempfile.TemporaryDirectory() as d: open(d + '/f', 'w').write('x'); os.rename(d + '/f', d + '/g')
ssl.create_default_context(); time.sleep(0.001); os.statvfs('.'); os.sync(); os.fsync(os.open('db', os.O_RDWR))
print('worked')
"#;
    for profile in PROFILES {
        assert_eq!(place.run(profile, &[], &["python3", "-c", script]).passed(), "worked");
        fs::remove_file(place.work().join("db")).unwrap();
    }
}

#[test]
fn a_resolver_client_asks_its_question() {
    let Some(place) = Place::new() else { return };
    if !has(&["dig"]) {
        return;
    }
    for profile in PROFILES {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let port = server.local_addr().unwrap().port().to_string();
        let answering = std::thread::spawn(move || {
            let mut packet = [0; 512];
            let (length, from) = server.recv_from(&mut packet).unwrap();
            packet[2] |= 0x80; // an answer
            packet[3] = 3; // which says that there is no such name
            server.send_to(&packet[..length], from).unwrap();
        });
        let out = place
            .run(profile, &[], &["dig", "@127.0.0.1", "-p", &port, "+tries=1", "web.shop.fabric.internal"])
            .passed();
        answering.join().unwrap();
        assert!(out.contains("status: NXDOMAIN"), "{out}");
    }
}

#[test]
fn a_server_finds_its_settings_good() {
    let Some(place) = Place::new() else { return };
    if !has(&["nginx"]) {
        return;
    }
    let settings = "pid nginx.pid; daemon off; events {} http { access_log /dev/stdout; client_body_temp_path t1; \
                    proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5; \
                    server { listen unix:nginx.sock; } }";
    fs::write(place.work().join("nginx.conf"), settings).unwrap();
    let work = place.work();
    let work = work.to_str().unwrap();
    for profile in PROFILES {
        let mut spec = place.spec(profile, &[]);
        if geteuid().is_root() {
            // Root's nginx wants to become another user itself, for which it has no right here.
            spec.user = Some("65534:65534".parse().unwrap());
            give(&spec, &Ids { uid: 65534, gid: 65534, groups: vec![] }).unwrap();
        }
        let ran = place.run_spec(&spec, &["nginx", "-t", "-e", "stderr", "-p", work, "-c", "nginx.conf"]);
        assert!(ran.err.contains("test is successful"), "{ran:?}");
        ran.passed();
    }
}

#[test]
fn runtimes_with_threads_of_their_own_work() {
    let Some(place) = Place::new() else { return };
    let node = "new (require('worker_threads').Worker)('process.exit(0)', { eval: true }).on('exit', () => \
                require('fs').promises.readFile('/etc/passwd').then(() => console.log('worked')))";
    let perl = "use threads; my $t = eval { threads->create(sub { 'worked' }) }; print $t ? $t->join : 'worked'";
    let runtimes: [&[&str]; 3] = [&["node", "-e", node], &["perl", "-e", perl], &["java", "-Xmx32m", "-version"]];
    for runtime in runtimes.into_iter().filter(|runtime| has(&runtime[..1])) {
        for profile in PROFILES {
            let out = place.run(profile, &[], runtime).passed();
            assert!(out == "worked" || runtime[0] == "java", "{runtime:?}: {out}");
        }
    }
}
