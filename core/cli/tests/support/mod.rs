//! What the tests with real machines share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    net::IpAddr,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_taffeta").into()
}

/// One cluster at a time: what is measured against a promise must not share the machine with another test.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops all packets to and from an address until it is dropped itself.
pub(crate) struct Dropped(String);

/// `None`, with the reason said aloud, where nftables cannot be used.
pub(crate) fn nft_drop(address: IpAddr) -> Option<Dropped> {
    let table = format!("taffeta_test_{}", address.to_string().replace('.', "_"));
    let rules = format!(
        "table inet {table} {{\nchain c {{\ntype filter hook input priority 0; policy accept;\n\
         ip saddr {address} drop\nip daddr {address} drop\n}}\n}}\n"
    );
    let output = Command::new("nft").arg(&rules).output();
    match output {
        Ok(output) if output.status.success() => Some(Dropped(table)),
        Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
        Err(e) => skip(&e.to_string()),
    }
}

fn skip(why: &str) -> Option<Dropped> {
    eprintln!("SKIPPED: packets cannot be dropped here, nft says: {}", why.trim());
    None
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = Command::new("nft").args(["delete", "table", "inet", &self.0]).status();
    }
}
