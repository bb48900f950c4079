//! Where the machines of a cluster run, and where its files are.

use crate::sweep::{CLUSTER, sweep, sweep_orphans};
use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

/// Where one machine runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    /// What its command is appended to: a program that becomes the command, so that the process is the node's. Empty if
    /// nothing has to be done before.
    pub(crate) under: Vec<String>,
}

/// Where machines run, by index from 1.
#[derive(Debug)]
pub(crate) enum Places {
    /// 127.B.C.1 and following.
    Loopback([u8; 2]),
    /// These, the first of which is that of `n1`.
    Given(Vec<Place>),
}

impl Places {
    pub(crate) fn place(&self, index: usize) -> Place {
        match self {
            Self::Loopback([b, c]) => {
                let last = u8::try_from(index).expect("few machines");
                Place { address: [127, *b, *c, last].into(), under: vec![] }
            }
            Self::Given(places) => places[index - 1].clone(),
        }
    }
}

/// Clusters of one test process get addresses of their own, so that tests may run side by side.
pub(crate) fn subnet() -> [u8; 2] {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let process = std::process::id();
    [(process % 200 + 20) as u8, NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add((process >> 8) as u8)]
}

/// A new folder, which tells in its name whose it is. What tests have left that were killed is swept before.
pub(crate) fn folder() -> PathBuf {
    static ONCE: Once = Once::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    ONCE.call_once(sweep_orphans);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("{CLUSTER}{}-{number}", std::process::id()));
    if folder.exists() {
        sweep(&folder); // of a killed test that had the same process id
    }
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
