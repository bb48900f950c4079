//! Unbound, which asks an upstream and keeps what that says.

use crate::dns::pinned::{Cores, Server, free_address, is_installed};
use anyhow::Result;
use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// An unbound, and the folder that it works in.
pub(crate) struct Unbound {
    pub(crate) server: Server,
    _folder: TempDir,
}

impl Unbound {
    /// Starts one with one thread, as it has one core; `None` if it is not installed.
    pub(crate) fn start(cores: Cores, upstream: SocketAddr) -> Result<Option<Self>> {
        if !is_installed("unbound", "unbound") {
            return Ok(None);
        }
        let folder = TempDir::new()?;
        let address = free_address()?;
        let config = folder.path().join("unbound.conf");
        fs::write(&config, config_text(&folder.path().display().to_string(), address, upstream))?;
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server::start(cores, &mut command, address)?;
        Ok(Some(Self { server, _folder: folder }))
    }
}

fn config_text(folder: &str, listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"{folder}/pid\"\n  \
         use-syslog: no\n  logfile: \"{folder}/log\"\n  num-threads: 1\n  interface: {}@{}\n  \
         access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \".\"\n  forward-addr: {}@{}\n",
        listen.ip(),
        listen.port(),
        upstream.ip(),
        upstream.port()
    )
}
