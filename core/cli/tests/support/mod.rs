//! What the tests with real machines share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_taffeta").into()
}

static TURN: RwLock<()> = RwLock::new(());

/// One cluster at a time: what is measured against a promise must not share the machine with another test.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Beside others that measure nothing either.
pub(crate) fn in_company() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Either, for what keeps it.
pub(crate) enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    InCompany(RwLockReadGuard<'static, ()>),
}

/// Draws from a seed: the same again from the same one.
pub(crate) struct Dice(u64);

impl Dice {
    /// From `TAFFETA_SEED`, else from a fixed one; it is printed.
    pub(crate) fn thrown(what: &str) -> Self {
        let seed = from_environment("TAFFETA_SEED", 1);
        println!("{what}: TAFFETA_SEED={seed}");
        Self(seed)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // splitmix64 (Steele, Lea, Flood 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// A time below so many milliseconds.
    pub(crate) fn millis_below(&mut self, end: u64) -> std::time::Duration {
        std::time::Duration::from_micros(self.below(end * 1_000))
    }
}

/// A number from the environment, or the usual one.
pub(crate) fn from_environment(name: &str, usual: u64) -> u64 {
    let Some(text) = std::env::var_os(name) else { return usual };
    let text = text.to_string_lossy();
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}

/// Drops all packets to and from an address until it is dropped itself.
pub(crate) struct Dropped(String);

/// `None`, with the reason said aloud, where nftables cannot be used.
pub(crate) fn nft_drop(address: IpAddr) -> Option<Dropped> {
    drop_what(address, &format!("ip saddr {address} drop\nip daddr {address} drop"))
}

/// The same of the fabric's packets alone: the machine is cut off from the others, and people still reach it.
pub(crate) fn nft_cut(fabric: SocketAddr) -> Option<Dropped> {
    let (address, port) = (fabric.ip(), fabric.port());
    let rules = format!("ip saddr {address} udp sport {port} drop\nip daddr {address} udp dport {port} drop");
    drop_what(address, &rules)
}

fn drop_what(address: IpAddr, rules: &str) -> Option<Dropped> {
    let table = format!("taffeta_test_{}", address.to_string().replace('.', "_"));
    let rules = format!(
        "table inet {table} {{\nchain c {{\ntype filter hook input priority 0; policy accept;\n{rules}\n}}\n}}\n"
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
