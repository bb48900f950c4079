//! A stream of writes from clients that go to another machine when one refuses, and what became of each.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};
use taffeta_harness::Cluster;

/// Longest wait for the reply to one attempt.
const REPLY_MAX: Duration = Duration::from_secs(10);
/// Pause after a refusal or between writes.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug)]
struct Written {
    begun: Instant,
    acknowledged: Instant,
}

#[derive(Default)]
struct Record {
    written: Mutex<Vec<Written>>,
    refused: Mutex<usize>,
    unknown: Mutex<Vec<(Instant, String)>>,
    ends: AtomicBool,
}

/// Clients that write until they are told to end.
pub(crate) struct Stream {
    began: Instant,
    record: Arc<Record>,
    clients: Vec<JoinHandle<()>>,
}

/// What became of the writes.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    /// Attempts that nobody can tell the outcome of.
    pub(crate) unknown: usize,
    first_unknown: Option<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged, {} refused, {} unknown", self.acknowledged, self.refused, self.unknown)?;
        self.first_unknown.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

impl Stream {
    /// So many clients, each with one write at a time.
    pub(crate) fn start(cluster: &Cluster, clients: usize) -> Self {
        let machines: Vec<SocketAddr> = cluster.machines.iter().map(|m| m.http()).collect();
        let record = Arc::new(Record::default());
        let client = |number: usize| {
            let (machines, record) = (machines.clone(), Arc::clone(&record));
            spawn(move || write_on(&machines, number, &record))
        };
        let clients = (0..clients).map(client).collect();
        Self { began: Instant::now(), record, clients }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The longest that a write took which was begun or acknowledged after this moment.
    pub(crate) fn slowest_since(&self, moment: Instant) -> Duration {
        let written = self.record.written.lock().expect("no client panics");
        let since = written.iter().filter(|w| w.acknowledged >= moment);
        since.map(|w| w.acknowledged - w.begun).max().unwrap_or_default()
    }

    /// When the first write was acknowledged of those that were begun after this moment.
    pub(crate) fn first_begun_after(&self, moment: Instant) -> Option<Instant> {
        let written = self.record.written.lock().expect("no client panics");
        written.iter().filter(|w| w.begun > moment).map(|w| w.acknowledged).min()
    }

    /// Ends it.
    pub(crate) fn end(self) -> Summary {
        self.record.ends.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("no client panics"));
        let unknown = self.record.unknown.lock().expect("no client panics");
        Summary {
            acknowledged: self.record.written.lock().expect("no client panics").len(),
            refused: *self.record.refused.lock().expect("no client panics"),
            unknown: unknown.len(),
            first_unknown: unknown.first().map(|(at, why)| format!("first after {:?}: {why}", *at - self.began)),
        }
    }
}

fn write_on(machines: &[SocketAddr], number: usize, record: &Record) {
    let mut at = number;
    while !record.ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        loop {
            let machine = machines[at % machines.len()];
            match attempt(machine) {
                Ok(()) => {
                    let written = Written { begun, acknowledged: Instant::now() };
                    record.written.lock().expect("no client panics").push(written);
                    break;
                }
                Err(Failure::Refused) => *record.refused.lock().expect("no client panics") += 1,
                Err(Failure::Unknown(why)) => {
                    record
                        .unknown
                        .lock()
                        .expect("no client panics")
                        .push((Instant::now(), format!("{machine}: {why}")));
                    break; // this one's outcome stays open; the next one is another write
                }
            }
            at += 1;
            if record.ends.load(Ordering::Relaxed) {
                return;
            }
            sleep(PAUSE);
        }
        at += 1;
        sleep(PAUSE);
    }
}

enum Failure {
    /// Nothing was written.
    Refused,
    /// It may have been.
    Unknown(String),
}

/// Creates a token: a small write that no other disturbs.
fn attempt(machine: SocketAddr) -> Result<(), Failure> {
    let mut stream = TcpStream::connect_timeout(&machine, REPLY_MAX).map_err(|_| Failure::Refused)?;
    let unknown = |e: std::io::Error| Failure::Unknown(e.to_string());
    stream.set_read_timeout(Some(REPLY_MAX)).map_err(unknown)?;
    let body = "{\"ttl_seconds\":60}";
    let length = body.len();
    let request = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: {machine}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(unknown)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(unknown)?;
    match reply.split(' ').nth(1) {
        Some("200" | "201") => Ok(()),
        Some("503") => Err(Failure::Refused),
        Some(_) | None => Err(Failure::Unknown(reply.lines().last().unwrap_or("no reply").into())),
    }
}
