//! A data folder from a backup: the only voter of the same cluster in another generation.

use crate::{
    api::ErrorCode,
    birth,
    config::{FabricConfig, settings},
    folder::{DiskFolder, Folder, Membership, file, save},
    format,
    ground::open_log,
    keyring,
    machine::Offer,
    start_error::{StartError, folder_error},
    wire::decode,
};
use futures::future::BoxFuture;
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use taffeta_model::{ClusterId, Fence, NodeId, NodeName, Recovery, State};
use taffeta_net::{Authority, Clock, Entropy, SystemClock, SystemEntropy, sha256};
use taffeta_secrets::{Backup, BackupError, RecoveryKey};
use taffeta_store::{Disk, SegmentDisk, Sizes, decode_state};

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The cluster, the same as before.
    pub cluster: ClusterId,
    /// Its new generation.
    pub generation: u64,
    /// Position of the newest entry that is in it, in the old generation.
    pub position: Fence,
    /// The machine that goes on.
    pub node: NodeName,
    /// Its id.
    pub id: NodeId,
    /// Where others reach it.
    pub address: SocketAddr,
    /// The machines that may come back.
    pub others: Vec<NodeName>,
}

/// Makes the empty folder `config.data` that of a node which goes on with what is in the backup, alone. Nothing is
/// started, and no network is touched. On an error the folder is empty again.
pub fn restore<'a>(
    config: &'a FabricConfig,
    backup: &'a [u8],
    key: &'a RecoveryKey,
) -> BoxFuture<'a, Result<Restored, StartError>> {
    Box::pin(restore_into(config, backup, key))
}

async fn restore_into(config: &FabricConfig, backup: &[u8], key: &RecoveryKey) -> Result<Restored, StartError> {
    let backup = Backup::read(backup).map_err(|e| wrong_backup(&e))?;
    let keys = backup.open(key).map_err(|e| wrong_backup(&e))?;
    let state = decode_state(&backup.state).map_err(|e| other_version(&backup, &e))?;
    let authority = decode(&keys.authority).map_err(|e| other_version(&backup, &e))?;
    let authority = Authority::import(keys.cluster, authority);
    if keys.cluster != state.cluster || keys.position != state.applied {
        return Err(wrong_backup(&BackupError::Damaged("its keys are not those of its state")));
    }
    check_empty(&config.data)?;
    let restored = write(config, state, &authority, &keys.kek()).await;
    if restored.is_err() {
        empty(&config.data);
    }
    restored
}

async fn write(
    config: &FabricConfig,
    mut state: State,
    authority: &Authority,
    kek: &taffeta_secrets::Kek,
) -> Result<Restored, StartError> {
    let settings = settings(config, None)?;
    let folder: Arc<dyn Folder> = Arc::new(DiskFolder::open(&config.data).map_err(folder_error)?);
    format::check(&*folder)?;
    let key = birth::key(&*folder, &SystemEntropy)?;
    let certificate =
        authority.certify(key.public(), SystemClock.date(), config.lives.certificate).map_err(StartError::failed)?;
    let membership = Membership { cluster: state.cluster, certificate, authority: authority.certificate().to_vec() };
    let mut secret = [0; 24];
    SystemEntropy.fill(&mut secret);
    let admin_token: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let member = birth::member(&settings, key.public(), &Offer::of(config, &settings));
    let (id, position) = (member.id, state.applied);
    state.begin_again(member, sha256(admin_token.as_bytes()));
    // The proof of the new generation: by it machines of the old one learn that theirs is over.
    let (cluster, generation, date) = (state.cluster, state.generation, SystemClock.date());
    let mut recovery = Recovery { cluster, generation, node: id, date, signature: vec![] };
    recovery.signature = authority.sign_message(&recovery.signed_part()).to_vec();
    state.recovery = Some(recovery);
    state.lives.clear();

    let seed = taffeta_store::seed(id, settings.advertise, &state)?;
    let mut log = SegmentDisk::open(open_log(&config.data, id).await?, id, Sizes::default())?;
    log.load()?;
    log.commit(&seed, None)?;
    drop(log);
    folder.write(file::ADMIN_TOKEN, admin_token.as_bytes())?;
    birth::seal_authorities(&*folder, &SystemEntropy, &key, std::slice::from_ref(authority))?;
    keyring::store(&*folder, &SystemEntropy, &key, state.cluster, kek)?;
    folder.write(keyring::RECOVERY_PUBLIC_FILE, &state.recovery_key)?;
    birth::count_start(&*folder)?;
    folder.write(file::SETTINGS, &serde_json::to_vec_pretty(&settings).map_err(StartError::failed)?)?;
    folder.write(file::NODE_ID, format!("{id}\n").as_bytes())?;
    save(&*folder, file::DIRECTORY, &state.directory())?;
    save(&*folder, file::MEMBERSHIP, &membership)?; // the last: with it the node has been born
    let others = state.members.values().filter(|member| member.id != id).map(|member| member.name.clone());
    let mut others: Vec<NodeName> = others.collect();
    others.sort();
    Ok(Restored {
        cluster: state.cluster,
        generation: state.generation,
        position,
        node: settings.name,
        id,
        address: settings.advertise,
        others,
    })
}

/// What is in a folder belongs to somebody: another node, or the operator.
fn check_empty(data: &Path) -> Result<(), StartError> {
    match fs::read_dir(data).map(|entries| entries.count()) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(StartError::new(ErrorCode::Failed, format!("{} cannot be used: {e}", data.display()))),
        Ok(0) => Ok(()),
        Ok(_) => {
            let message = format!("{} is not empty: a restore overwrites nothing", data.display());
            Err(StartError::new(ErrorCode::Conflict, message).help("give an empty or a new folder: --data DIR"))
        }
    }
}

/// Takes back what was begun in a folder that was empty before.
fn empty(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

fn other_version(backup: &Backup, why: &dyn std::fmt::Display) -> StartError {
    let version = &backup.header.version;
    let message = format!("what is in the backup cannot be read: {why}; taffeta {version} wrote it");
    StartError::new(ErrorCode::Invalid, message).help("restore it with that version, then upgrade")
}

/// Why a backup is not used.
pub fn wrong_backup(why: &BackupError) -> StartError {
    let help = match why {
        BackupError::NoBackup => "give a file that `taffeta backup FILE` has written",
        BackupError::OtherFormat(_) => "restore it with the version of taffeta that wrote it",
        BackupError::Damaged(_) => "take another copy of it, or an older backup",
        BackupError::WrongKey => "give the recovery.key that the first node of this fabric wrote at its first start",
    };
    StartError::new(ErrorCode::Invalid, format!("the backup cannot be used: {why}")).help(help)
}

#[cfg(test)]
mod tests;
