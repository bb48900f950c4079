//! Opening the two doors: the TCP address and the socket file.

use super::server::HttpConfig;
use crate::client::ShortPath;
use rustix::fs::Mode;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the API cannot be served. Nothing was opened and no file was changed, but for a stale socket file that may have
/// been removed.
#[derive(Debug, Error)]
pub(crate) enum HttpBindError {
    /// Without a token only programs of this machine may come in.
    #[error("an API without token is refused on {0}: that is not a loopback address")]
    OpenBeyondLoopback(SocketAddr),
    /// The address could not be had.
    #[error("cannot listen on {address} for the HTTP API")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another process answers at the socket file.
    #[error("another node already answers at {0}")]
    SocketInUse(PathBuf),
    /// There is something else in the place of the socket file.
    #[error("{0} exists and is not a socket, so it is not replaced")]
    NotASocket(PathBuf),
    /// The socket file could not be made.
    #[error("cannot make the API's socket {path}")]
    Socket {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl HttpBindError {
    /// What can be done about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::OpenBeyondLoopback(address) => {
                format!("leave out --api-open and use the token, or listen on 127.0.0.1:{}", address.port())
            }
            Self::Address { address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    format!(
                        "another process listens there: end it (`ss -ltnp sport = :{}` shows it), or choose another address with --http",
                        address.port()
                    )
                }
                io::ErrorKind::AddrNotAvailable => {
                    format!("this machine has no address {}: choose one of `ip address` with --http", address.ip())
                }
                io::ErrorKind::PermissionDenied => "ports below 1024 need root: choose a higher one with --http".into(),
                _ => "choose another address with --http".into(),
            },
            Self::SocketInUse(_) => "end that node first, or choose another folder with --data".into(),
            Self::NotASocket(path) => format!("move {} away, or choose another folder with --data", path.display()),
            Self::Socket { .. } => "check that the data folder exists and that this user may write to it".into(),
        }
    }
}

/// What was opened.
pub(super) struct Doors {
    pub(super) tcp: Option<tokio::net::TcpListener>,
    pub(super) unix: Option<(tokio::net::UnixListener, SocketFile)>,
}

/// The socket file; removed when dropped, unless another has taken its place meanwhile.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens what the configuration asks for. Must be called inside of a tokio runtime.
pub(super) fn open_doors(config: &HttpConfig) -> Result<Doors, HttpBindError> {
    let tcp = config.listen.map(|address| open_tcp(address, config.open)).transpose()?;
    let unix = config.unix_socket.as_deref().map(open_unix).transpose()?;
    Ok(Doors { tcp, unix })
}

fn open_tcp(address: SocketAddr, open: bool) -> Result<tokio::net::TcpListener, HttpBindError> {
    if open && !address.ip().to_canonical().is_loopback() {
        return Err(HttpBindError::OpenBeyondLoopback(address));
    }
    let opened = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    });
    opened.map_err(|source| HttpBindError::Address { address, source })
}

fn open_unix(path: &Path) -> Result<(tokio::net::UnixListener, SocketFile), HttpBindError> {
    let failed = |source: io::Error| HttpBindError::Socket { path: path.into(), source };
    let short = ShortPath::of(path).map_err(failed)?;
    clear_stale(path, short.as_path())?;
    let listener = UnixListener::bind(short.as_path()).map_err(failed)?;
    // Between these two lines others may connect; they are told apart by their user id, see `access`.
    rustix::fs::chmod(short.as_path(), Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    let meta = std::fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.into(), identity: (meta.dev(), meta.ino()) };
    let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
    Ok((listener, file))
}

/// Removes the socket file of a node that is no more. A killed node cannot do it itself.
fn clear_stale(path: &Path, short: &Path) -> Result<(), HttpBindError> {
    let failed = |source: io::Error| HttpBindError::Socket { path: path.into(), source };
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    if !meta.file_type().is_socket() {
        return Err(HttpBindError::NotASocket(path.into()));
    }
    match UnixStream::connect(short) {
        Ok(_) => Err(HttpBindError::SocketInUse(path.into())),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(e) => Err(failed(e)),
    }
}
