//! An API that says what a test tells it to: one canned answer for each path, and a note of what was asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// `POST /v1/apps`.
    pub(crate) line: String,
    /// The bearer token.
    pub(crate) token: Option<String>,
    /// The body.
    pub(crate) body: String,
}

/// A node that is none.
pub(crate) struct FakeApi {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeApi {
    /// Answers `METHOD /path` (the query is not looked at) with a status and a body; anything else with 404.
    pub(crate) fn new(answers: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: BTreeMap<String, (u16, String)> =
            answers.iter().map(|(line, status, body)| ((*line).into(), (*status, (*body).into()))).collect();
        let asked = Arc::new(Mutex::new(vec![]));
        let notes = Arc::clone(&asked);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &answers, &notes);
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic while noting").clone()
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &BTreeMap<String, (u16, String)>,
    notes: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut asked = Asked::default();
    let mut length = 0;
    let mut first = String::new();
    reader.read_line(&mut first)?;
    asked.line = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
        if name.eq_ignore_ascii_case("authorization") {
            asked.token = value.strip_prefix("Bearer ").map(String::from);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    let key = asked.line.split('?').next().unwrap_or_default();
    let missing =
        (404, r#"{"error":{"code":"not_found","message":"there is no such thing","help":null,"field":null}}"#.into());
    let (status, body) = answers.get(key).unwrap_or(&missing);
    notes.lock().expect("no panic while noting").push(asked);
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}
