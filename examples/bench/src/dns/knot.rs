//! Knot DNS with the same zone.

use crate::dns::{
    pinned::{Cores, Server, free_address, is_installed},
    queries::Queries,
    zone,
};
use anyhow::Result;
use std::{
    fs,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A Knot, and the folder that it works in.
pub(crate) struct Knot {
    pub(crate) server: Server,
    _folder: TempDir,
}

impl Knot {
    /// Starts one with one worker, as it has one core; `None` if it is not installed.
    pub(crate) fn start(cores: Cores, services: u32) -> Result<Option<Self>> {
        if !is_installed("knotd", "knot") {
            return Ok(None);
        }
        let folder = TempDir::new()?;
        let path = folder.path().display();
        let address = free_address()?;
        fs::write(folder.path().join("zone"), zone::file(services))?;
        let config = folder.path().join("knot.conf");
        fs::write(&config, config_text(&path.to_string(), &format!("{}@{}", address.ip(), address.port())))?;
        let mut command = Command::new("knotd");
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server::start(cores, &mut command, address)?;
        let first = Queries::addresses(1);
        server.wait_for(&first.packets[0], |reply| first.expected.is(reply))?;
        Ok(Some(Self { server, _folder: folder }))
    }
}

fn config_text(folder: &str, listen: &str) -> String {
    format!(
        "server:\n  rundir: {folder}\n  listen: {listen}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\n  tcp-max-clients: 1000\n\
         database:\n  storage: {folder}\n\
         zone:\n  - domain: {domain}\n    file: {folder}/zone\n    zonefile-load: whole\n    journal-content: none\n    \
         semantic-checks: off\n",
        domain = zone::DOMAIN
    )
}
