//! The key-encryption key: voters hold it as they hold the CA's key, in memory and sealed on disk.

use crate::{
    folder::{Folder, load, save},
    node::Core,
    start_error::StartError,
    wire::{Ask, Told, Veiled},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use taffeta_model::{ClusterId, NodeId, Secret};
use taffeta_net::{Entropy, NodeKey};
use taffeta_secrets::{Kek, RecoveryKey, Sealed, seal, unseal};

/// The key, encrypted under the node's own.
const KEK_FILE: &str = "kek.sealed";
/// The recovery key, which belongs elsewhere: it is written once, and never read by a node.
pub(crate) const RECOVERY_FILE: &str = "recovery.key";
/// Its public half, until it is in the log.
pub(crate) const RECOVERY_PUBLIC_FILE: &str = "recovery.pub";
/// How often a voter without the key asks for it.
const KEYRING_EVERY: Duration = Duration::from_millis(500);
/// How long another voter may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// As it lies on disk.
#[derive(Serialize, Deserialize)]
struct SealedKek {
    cluster: ClusterId,
    sealed: Sealed,
}

/// Holds the key, where this node votes.
#[derive(Debug)]
pub(crate) struct Keyring {
    cluster: ClusterId,
    kek: Mutex<Option<Kek>>,
}

impl Keyring {
    /// What the folder holds.
    pub(crate) fn open(folder: &dyn Folder, key: &NodeKey, cluster: ClusterId) -> Result<Self, StartError> {
        let kek = match load::<SealedKek>(folder, KEK_FILE)? {
            None => None,
            // A first start that did not get far leaves the key of a cluster that never was.
            Some(of_another) if of_another.cluster != cluster => {
                folder.remove(KEK_FILE)?;
                None
            }
            Some(ours) => {
                let kek = unseal(&sealing_key(key), &bound(cluster), &ours.sealed);
                let kek = kek.ok().and_then(|kek| <[u8; 32]>::try_from(kek).ok());
                Some(Kek::new(kek.ok_or_else(|| StartError::damaged(KEK_FILE))?))
            }
        };
        Ok(Self { cluster, kek: Mutex::new(kek) })
    }

    /// The key, if this node has it.
    pub(crate) fn kek(&self) -> Option<Kek> {
        self.kek.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, folder: &dyn Folder, entropy: &dyn Entropy, key: &NodeKey, kek: Kek) -> io::Result<()> {
        store(folder, entropy, key, self.cluster, &kek)?;
        *self.kek.lock().unwrap_or_else(PoisonError::into_inner) = Some(kek);
        Ok(())
    }

    fn forget(&self, folder: &dyn Folder) {
        *self.kek.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = folder.remove(KEK_FILE) {
            tracing::error!(%error, "the sealed key-encryption key could not be removed");
        }
    }
}

/// Seals the key on disk.
pub(crate) fn store(
    folder: &dyn Folder,
    entropy: &dyn Entropy,
    key: &NodeKey,
    cluster: ClusterId,
    kek: &Kek,
) -> io::Result<()> {
    let mut nonce = [0; 12];
    entropy.fill(&mut nonce);
    let sealed = seal(&sealing_key(key), nonce, &bound(cluster), &kek.export());
    save(folder, KEK_FILE, &SealedKek { cluster, sealed })
}

/// Makes the keys of a new cluster: the key-encryption key, and the recovery key for its operator.
pub(crate) fn create(
    folder: &dyn Folder,
    entropy: &dyn Entropy,
    key: &NodeKey,
    cluster: ClusterId,
) -> Result<(), StartError> {
    let random = || {
        let mut random = [0; 32];
        entropy.fill(&mut random);
        random
    };
    let (kek, recovery) = (Kek::new(random()), RecoveryKey::new(random()));
    store(folder, entropy, key, cluster, &kek)?;
    folder.write(RECOVERY_PUBLIC_FILE, &recovery.public())?;
    folder.write(RECOVERY_FILE, recovery.file(cluster).as_bytes())?;
    Ok(())
}

/// The public half of the recovery key, as it was written at the cluster's birth.
pub(crate) fn recovery_public(folder: &dyn Folder) -> Result<[u8; 32], StartError> {
    let public = folder.read(RECOVERY_PUBLIC_FILE)?.and_then(|public| <[u8; 32]>::try_from(public).ok());
    public.ok_or_else(|| StartError::damaged(RECOVERY_PUBLIC_FILE))
}

fn sealing_key(key: &NodeKey) -> [u8; 32] {
    key.derive("kek-seal")
}

fn bound(cluster: ClusterId) -> Vec<u8> {
    [b"taffeta kek 1".as_slice(), &cluster.0.to_be_bytes()].concat()
}

impl Core {
    /// Only a voter gets the key.
    pub(crate) fn give_keyring(&self, to: NodeId) -> Told {
        let votes = self.votes_now(to);
        match self.keyring.kek().filter(|_| votes) {
            Some(kek) => Told::Keyring(Veiled(Secret::new(kek.export().to_vec()))),
            None => Told::No,
        }
    }

    /// Gets the key when this node has come to vote, and deletes it when it has lost its vote.
    pub(crate) async fn run_keyring(self: Arc<Self>) {
        let (mut lost, mut turn) = (None, 0);
        loop {
            let votes = self.votes_now(self.me);
            let has = self.keyring.kek().is_some();
            if votes && !has {
                self.fetch_keyring(turn).await;
                turn += 1;
            }
            if has && self.may_forget_keys(&mut lost).await {
                self.keyring.forget(&*self.folder);
                tracing::info!("this node votes no more; its copy of the key-encryption key was deleted");
            }
            tokio::time::sleep_until(self.next_beat(KEYRING_EVERY)).await;
        }
    }

    async fn fetch_keyring(&self, turn: usize) {
        if !self.has_state() {
            return; // nothing to compare it with yet
        }
        for holder in self.renewers(turn) {
            let Ok(Told::Keyring(Veiled(kek))) = self.ask(holder, &Ask::Keyring, ASK_LIMIT).await else { continue };
            let kek = <[u8; 32]>::try_from(kek.expose()).ok().map(Kek::new);
            let ours = self.store.read(|state| state.kek_hash);
            let Some(kek) = kek.filter(|kek| kek.hash() == ours) else {
                tracing::warn!(from = %holder, "a key-encryption key that is not the cluster's was offered");
                continue;
            };
            match self.keyring.keep(&*self.folder, &*self.entropy, &self.key, kek) {
                Ok(()) => {
                    tracing::info!(from = %holder, "the key-encryption key was received, as this node votes now");
                    return;
                }
                Err(error) => tracing::error!(%error, "the key-encryption key could not be stored"),
            }
        }
    }
}
