//! The values of the secrets that tasks of this node use: fetched from a voter, held in memory, and sealed on disk, so
//! that a task starts again also while no voter answers and after a reboot.

use crate::{
    folder::{Folder, load, save},
    node::Core,
    wire::{Ask, Told, Veiled},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};
use taffeta_model::{AssignedSet, ClusterId, NodeId, Secret, SecretName, SecretPins};
use taffeta_net::{Entropy, NodeKey};
use taffeta_secrets::{Sealed, seal, unseal};
use tokio::time::sleep;

/// The values, encrypted under the node's own key.
const SHELF_FILE: &str = "secrets.sealed";
/// Most values in one question: twice what one task may have.
pub(crate) const ASKED_MAX: usize = 64;
/// Versions of one name that are held: a rollout has two at a time, one that is followed by another has three.
const VERSIONS_MAX: usize = 4;
/// How long a voter may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Rounds over the voters, and the pause between them: the one that is asked may have applied less than the one that gave
/// the set.
const ROUNDS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

type Values = BTreeMap<(SecretName, u64), Secret>;

/// What this node holds.
pub(crate) struct Shelf {
    cluster: ClusterId,
    folder: Arc<dyn Folder>,
    key: Arc<NodeKey>,
    entropy: Arc<dyn Entropy>,
    values: Mutex<Values>,
    /// One question at a time: tasks of one job start together and want the same.
    asking: tokio::sync::Mutex<()>,
    /// Who asks; set once the node is assembled. Held weakly: the node holds the shelf.
    core: OnceLock<Weak<Core>>,
}

impl Shelf {
    /// What the folder holds. What is damaged there can be had again.
    pub(crate) fn open(
        cluster: ClusterId,
        folder: Arc<dyn Folder>,
        key: Arc<NodeKey>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let values = read(cluster, &*folder, &key).unwrap_or_else(|why| {
            tracing::warn!(why, "the sealed secrets of this node's tasks are of no use; they are fetched anew");
            Values::new()
        });
        let (values, asking, core) = (Mutex::new(values), tokio::sync::Mutex::default(), OnceLock::new());
        Arc::new(Self { cluster, folder, key, entropy, values, asking, core })
    }

    /// Lets the node ask for what is missing.
    pub(crate) fn connect(&self, core: &Arc<Core>) {
        let _ = self.core.set(Arc::downgrade(core));
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of these versions. They are on disk, sealed, before they are given; the error says in words what could
    /// not be had.
    pub(crate) async fn get(&self, pins: &SecretPins) -> Result<BTreeMap<SecretName, Secret>, String> {
        if pins.is_empty() {
            return Ok(BTreeMap::new());
        }
        let _one = self.asking.lock().await;
        for round in 0..ROUNDS {
            let missing = self.missing(pins);
            if missing.is_empty() {
                break;
            }
            if round > 0 {
                sleep(PAUSE).await;
            }
            let Some(core) = self.core.get().and_then(Weak::upgrade) else { continue };
            let found = core.fetch_secrets(&missing).await;
            if !found.is_empty() {
                self.lock().extend(found);
                self.save();
            }
        }
        let missing = self.missing(pins);
        if let Some((name, version)) = missing.first() {
            return Err(format!("no voter gives the secret `{name}` (version {version})"));
        }
        let values = self.lock();
        let value =
            |(name, version): (&SecretName, &u64)| Some((name.clone(), values.get(&(name.clone(), *version))?.clone()));
        Ok(pins.iter().filter_map(value).collect())
    }

    fn missing(&self, pins: &SecretPins) -> Vec<(SecretName, u64)> {
        let values = self.lock();
        let wanted = pins.iter().map(|(name, version)| (name.clone(), *version));
        wanted.filter(|pin| !values.contains_key(pin)).collect()
    }

    /// Forgets what no task of the set uses. Older versions stay for a while: a task that waits for its successor may have
    /// to be started again.
    pub(crate) fn keep_only(&self, set: &AssignedSet) {
        let named: BTreeSet<&SecretName> = set.tasks.values().flat_map(|task| task.secrets.keys()).collect();
        let changed = {
            let mut values = self.lock();
            let before = values.len();
            let mut newest: BTreeMap<SecretName, Vec<u64>> = BTreeMap::new();
            for (name, version) in values.keys().filter(|(name, _)| named.contains(name)) {
                newest.entry(name.clone()).or_default().push(*version);
            }
            values.retain(|(name, version), _| {
                newest.get(name).is_some_and(|all| all.iter().rev().take(VERSIONS_MAX).any(|kept| kept == version))
            });
            values.len() != before
        };
        if changed {
            self.save();
        }
    }

    fn save(&self) {
        let values: Vec<(SecretName, u64, Vec<u8>)> =
            self.lock().iter().map(|((name, version), v)| (name.clone(), *version, v.expose().to_vec())).collect();
        let written = if values.is_empty() {
            self.folder.remove(SHELF_FILE)
        } else {
            let mut nonce = [0; 12];
            self.entropy.fill(&mut nonce);
            let plain = crate::wire::encode(&values);
            save(&*self.folder, SHELF_FILE, &seal(&sealing_key(&self.key), nonce, &bound(self.cluster), &plain))
        };
        if let Err(error) = written {
            tracing::error!(%error, "the secrets of this node's tasks could not be stored: after a restart they are fetched anew");
        }
    }
}

fn read(cluster: ClusterId, folder: &dyn Folder, key: &NodeKey) -> Result<Values, String> {
    let sealed: Option<Sealed> = load(folder, SHELF_FILE).map_err(|e| e.to_string())?;
    let Some(sealed) = sealed else { return Ok(Values::new()) };
    let plain = unseal(&sealing_key(key), &bound(cluster), &sealed).map_err(|e| e.to_string())?;
    let values: Vec<(SecretName, u64, Vec<u8>)> = crate::wire::decode(&plain)?;
    Ok(values.into_iter().map(|(name, version, value)| ((name, version), Secret::new(value))).collect())
}

fn sealing_key(key: &NodeKey) -> [u8; 32] {
    key.derive("secrets-seal")
}

fn bound(cluster: ClusterId) -> Vec<u8> {
    [b"taffeta shelf 1".as_slice(), &cluster.0.to_be_bytes()].concat()
}

impl Core {
    /// What the voters give of these, the leader first.
    async fn fetch_secrets(&self, wanted: &[(SecretName, u64)]) -> Vec<((SecretName, u64), Secret)> {
        let consensus = self.consensus.borrow().clone();
        let leader = consensus.leader.map(|(leader, _)| leader);
        let others = consensus.voters.iter().copied().filter(|id| Some(*id) != leader);
        let mut missing: BTreeSet<(SecretName, u64)> = wanted.iter().take(ASKED_MAX).cloned().collect();
        let mut found = vec![];
        for voter in leader.into_iter().chain(others) {
            let ask: Vec<_> = missing.iter().cloned().collect();
            let told = if voter == self.me {
                self.give_secrets(self.me, &ask)
            } else {
                match self.ask(voter, &Ask::Secrets(ask), ASK_LIMIT).await {
                    Ok(told) => told,
                    Err(error) => {
                        tracing::debug!(%voter, %error, "secrets could not be asked for");
                        continue;
                    }
                }
            };
            let Told::Secrets(values) = told else { continue };
            for (name, version, Veiled(value)) in values {
                let pin = (name, version);
                if missing.remove(&pin) {
                    found.push((pin, value));
                }
            }
            if missing.is_empty() {
                break;
            }
        }
        found
    }

    /// Gives a node what tasks use that are placed on it, and nothing else.
    pub(crate) fn give_secrets(&self, to: NodeId, wanted: &[(SecretName, u64)]) -> Told {
        let Some(kek) = self.keyring.kek().filter(|_| wanted.len() <= ASKED_MAX) else { return Told::No };
        let cluster = self.cluster;
        let values = self.store.read(|state| {
            let used = state.secrets_of(to);
            let value = |(name, version): &(SecretName, u64)| {
                let held = state.secret(name, *version)?;
                match kek.decrypt(cluster, (name, *version), &held.envelope) {
                    Ok(value) => Some((name.clone(), *version, Veiled(value))),
                    Err(error) => {
                        tracing::error!(%name, version, %error, "a secret cannot be decrypted");
                        None
                    }
                }
            };
            wanted.iter().filter(|pin| used.contains(*pin)).filter_map(value).collect()
        });
        Told::Secrets(values)
    }
}
