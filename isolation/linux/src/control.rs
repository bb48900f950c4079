//! The shim's protocol: one line of JSON asks, one answers. Frozen: agents talk to shims of older releases.

use crate::record::{ExitRecord, SOCKET, VERSION};
use serde::{Deserialize, Serialize};
use std::{fs::File, io, os::fd::AsRawFd, path::Path};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// Longest line in bytes: far more than any request needs, small enough for the shim to hold one for each connection.
pub(crate) const LINE_BYTES_MAX: usize = 512;

/// Begins the error about a request that this release does not know, or that is none. Part of the protocol.
pub(crate) const NOT_UNDERSTOOD: &str = "not understood";

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Action {
    /// Whether it runs.
    Status,
    /// Send signal `n` to the main process.
    Signal { n: i32 },
    /// Kill everything.
    Kill,
    /// Answer at once, and once more when the task has ended.
    Watch,
    /// Its lease ends at `until` now, in milliseconds of CLOCK_BOOTTIME. Older shims know no leases.
    Extend { until: u64 },
}

/// A line to the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) v: u32,
    #[serde(flatten)]
    pub(crate) action: Action,
}

/// A line from the shim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) v: u32,
    /// Process id of the task, if the request was granted and it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<ExitRecord>,
    /// Why the request was not granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Reads a request; the error is for the asker.
pub(crate) fn parse(line: &[u8]) -> Result<Action, String> {
    let request: Request = serde_json::from_slice(line).map_err(|e| format!("{NOT_UNDERSTOOD}: {e}"))?;
    if request.v != VERSION {
        return Err(format!("version {} is not known; this shim speaks {VERSION}", request.v));
    }
    Ok(request.action)
}

/// A line for the wire.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).expect("numbers and text are always JSON");
    bytes.push(b'\n');
    bytes
}

/// A path to the socket that is short however deep the folder lies: the kernel takes 108 bytes. It is valid while
/// `folder` is open.
pub(crate) fn short_path(folder: &File) -> String {
    format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())
}

/// A connection to a shim.
#[derive(Debug)]
pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects and asks.
    pub(crate) async fn ask(folder: &Path, action: Action) -> io::Result<Self> {
        let folder = File::open(folder)?;
        let mut stream = UnixStream::connect(short_path(&folder)).await?;
        stream.write_all(&line(&Request { v: VERSION, action })).await?;
        Ok(Self(BufReader::with_capacity(LINE_BYTES_MAX, stream)))
    }

    /// The next answer; `None` when the shim has hung up.
    pub(crate) async fn reply(&mut self) -> io::Result<Option<Reply>> {
        let mut bytes = Vec::new();
        // An exit may carry an error text of some length.
        (&mut self.0).take(64 << 10).read_until(b'\n', &mut bytes).await?;
        if bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}
