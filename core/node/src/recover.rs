//! `recover`: what the folder of a stopped node knows, what others know that it does not, and how it becomes the beginning
//! of a new generation after the quorum was lost for good.

mod compare;
mod views;

pub use compare::Loss;
pub use views::{MemberEntry, PositionView, Recovered, StretchView, SurveyView};

use crate::{
    api::ErrorCode,
    birth,
    config::load_settings,
    folder::{DiskFolder, FORMAT, Folder, Membership, Settings, file, load},
    format::of_newer,
    ground::open_log,
    start_error::{StartError, folder_error},
};
use futures::future::BoxFuture;
use std::{path::Path, sync::Arc};
use taffeta_model::{ClusterId, NodeId, Recovery, State, UnixMillis};
use taffeta_net::{Authority, NodeKey, SealedAuthority, SystemEntropy};
use taffeta_store::{Files, Offline, SegmentDisk, Sizes};

/// What to do with a folder that no node was made of.
const NOT_A_NODE: &str = "give the data folder of a stopped node: --data DIR";

/// A data folder of which no node runs, behind the seams of [`crate::World`].
pub struct Stopped {
    /// Small files.
    pub folder: Arc<dyn Folder>,
    /// The log's files.
    pub log: Arc<dyn Files>,
    /// Their sizes.
    pub log_sizes: Sizes,
}

/// Who the node of a folder is.
struct Owner {
    settings: Settings,
    key: NodeKey,
    membership: Membership,
    /// CAs whose keys it holds: the one that signs, and perhaps some that were to follow it.
    authorities: Vec<Authority>,
}

/// A folder that is held, and all that is needed of it.
struct Held {
    folder: Arc<dyn Folder>,
    owner: Owner,
    offline: Offline,
}

/// Shows what the folder of a stopped node knows. Nothing in it is changed.
pub async fn survey(data: &Path) -> Result<SurveyView, StartError> {
    Ok(Held::open(data).await?.view())
}

/// Makes the node of this folder the only voter of a new generation. All or nothing: if it is interrupted, nothing has
/// changed. `others` are what other survivors know. Refused if one of them knows more, unless that is to be given up
/// (`force`), and if the folder does not hold the CA key and neither does `authority_of`, the folder of another node.
pub async fn recover(
    data: &Path,
    others: &[SurveyView],
    force: bool,
    authority_of: Option<&Path>,
    now: UnixMillis,
) -> Result<Recovered, StartError> {
    let mut held = Held::open(data).await?;
    held.check_knows_most(others, force)?;
    if let Some(data) = authority_of {
        held.borrow_authority(data)?;
    }
    held.recover(others, now)
}

/// [`survey`] of a folder behind the seams.
pub fn survey_in(stopped: Stopped) -> Result<SurveyView, StartError> {
    Ok(Held::open_in(stopped)?.view())
}

/// [`recover`] on a folder behind the seams, which has to hold the CA key itself.
pub fn recover_in(
    stopped: Stopped,
    others: &[SurveyView],
    force: bool,
    now: UnixMillis,
) -> Result<Recovered, StartError> {
    let held = Held::open_in(stopped)?;
    held.check_knows_most(others, force)?;
    held.recover(others, now)
}

impl Owner {
    /// Reads it; nothing is changed.
    fn read(folder: &dyn Folder) -> Result<Self, StartError> {
        check_format(folder)?;
        if folder.read(file::STALE)?.is_some() {
            return Err(crate::place::stale());
        }
        let membership: Membership =
            load(folder, file::MEMBERSHIP)?.ok_or_else(|| nobody("this is not the data folder of a member"))?;
        let settings = load_settings(folder)?.ok_or_else(|| StartError::damaged(file::SETTINGS))?;
        let key = birth::key(folder, &SystemEntropy)?;
        let authorities = authorities(folder, &key, membership.cluster)?;
        Ok(Self { settings, key, membership, authorities })
    }

    fn node(&self) -> NodeId {
        self.key.public().node_id()
    }
}

impl Held {
    fn open(data: &Path) -> BoxFuture<'_, Result<Self, StartError>> {
        Box::pin(Self::open_folder(data))
    }

    async fn open_folder(data: &Path) -> Result<Self, StartError> {
        // Looked for first: locking a folder makes it.
        if !data.join(file::MEMBERSHIP).is_file() || !data.join(file::LOG).exists() {
            return Err(nobody(&format!("{} is not the data folder of a member", data.display())));
        }
        let folder: Arc<dyn Folder> = Arc::new(DiskFolder::open(data).map_err(folder_error)?);
        let owner = Owner::read(&*folder)?;
        let log = open_log(data, owner.node()).await?;
        Self::with_log(folder, owner, log, Sizes::default())
    }

    fn open_in(stopped: Stopped) -> Result<Self, StartError> {
        let owner = Owner::read(&*stopped.folder)?;
        Self::with_log(stopped.folder, owner, stopped.log, stopped.log_sizes)
    }

    fn with_log(folder: Arc<dyn Folder>, owner: Owner, log: Arc<dyn Files>, sizes: Sizes) -> Result<Self, StartError> {
        let log = SegmentDisk::open(log, owner.node(), sizes).map_err(StartError::failed)?;
        let offline = Offline::open(Box::new(log)).map_err(StartError::failed)?;
        if offline.survey().state.cluster != owner.membership.cluster {
            let message = format!("`{}` holds no replicated state: it neither voted nor followed", owner.settings.name);
            return Err(StartError::new(ErrorCode::Conflict, message).help(
                "recover on a node that was a voter, or a learner; `taffeta nodes` on any member shows the roles",
            ));
        }
        Ok(Self { folder, owner, offline })
    }

    /// Refuses if another survivor knows more, unless that is to be given up.
    fn check_knows_most(&self, others: &[SurveyView], force: bool) -> Result<(), StartError> {
        let mine = self.view();
        for other in others {
            mine.check_comparable(other).map_err(|why| StartError::new(ErrorCode::Invalid, why))?;
            if mine.knows_less_than(other) && !force {
                let message = format!("`{}` knows more than this node: {}", other.name, mine.loss_against(other));
                return Err(StartError::new(ErrorCode::Conflict, message)
                    .help(format!("recover on `{}`; or give up what only it knows: --force", other.name)));
            }
        }
        Ok(())
    }

    /// The CA by which the end of the old generation can be proven to whoever is still in it.
    fn authority(&self) -> Option<Authority> {
        believed(&self.owner.authorities, &self.offline.survey().state)
    }

    /// Begins the new generation.
    fn recover(self, others: &[SurveyView], now: UnixMillis) -> Result<Recovered, StartError> {
        let authority = self.authority().ok_or_else(no_authority)?;
        let Owner { settings, key, membership, authorities: _ } = self.owner;
        let node = key.public().node_id();
        let mut recovery = Recovery {
            cluster: membership.cluster,
            generation: self.offline.survey().state.generation.saturating_add(1),
            node,
            date: now,
            signature: vec![],
        };
        recovery.signature = authority.sign_message(&recovery.signed_part()).to_vec();
        let generation = recovery.generation;
        let above = others.iter().map(SurveyView::highest_term).max().unwrap_or_default();
        let at = self.offline.recover(node, settings.advertise, recovery, above).map_err(StartError::failed)?;
        Ok(Recovered { node, name: settings.name, generation, at: at.into() })
    }

    /// Takes the CA key out of another node's folder, where that node had sealed it, and seals it into this one.
    fn borrow_authority(&mut self, data: &Path) -> Result<(), StartError> {
        let other = DiskFolder::open(data).map_err(folder_error)?;
        let key = birth::key(&other, &SystemEntropy)?;
        let held = authorities(&other, &key, self.owner.membership.cluster)?;
        let found = believed(&held, &self.offline.survey().state).ok_or_else(|| {
            let message = format!("{} does not hold the CA key of this cluster", data.display());
            StartError::new(ErrorCode::Conflict, message).help("give the data folder of a node that was a voter")
        })?;
        let held = &mut self.owner.authorities;
        held.retain(|authority| authority.hash() != found.hash());
        held.push(found);
        birth::seal_authorities(&*self.folder, &SystemEntropy, &self.owner.key, held)?;
        Ok(())
    }
}

fn nobody(message: &str) -> StartError {
    StartError::new(ErrorCode::Invalid, message).help(NOT_A_NODE)
}

/// Without the CA key a node could lead, but nobody could ever join, no certificate be renewed, and those of the old
/// generation not be shown a proof that it is over: they would go on beside the new one.
fn no_authority() -> StartError {
    let message = "this node does not hold the CA key, as it was no voter: the new generation could not be proven to the old \
                   one, and nobody could join it or renew a certificate";
    StartError::new(ErrorCode::Conflict, message).help(
        "recover on a node that was a voter; if only its disk is left, bring its data folder here and name it: \
         --ca-from DIR",
    )
}

/// The CAs whose keys a node has sealed.
fn authorities(folder: &dyn Folder, key: &NodeKey, cluster: ClusterId) -> Result<Vec<Authority>, StartError> {
    let sealed: Vec<SealedAuthority> = load(folder, file::AUTHORITY)?.unwrap_or_default();
    let opened: Result<Vec<Authority>, _> = sealed.into_iter().map(|s| s.open(key)).collect();
    let mut opened = opened.map_err(|_| StartError::damaged(file::AUTHORITY))?;
    opened.retain(|authority| authority.cluster() == cluster);
    Ok(opened)
}

/// Of these, the one that signs by the log; if it is not there, the newest before it, which is believed as well. Never one
/// whose rotation was prepared and is not in the log: nobody believes what it has signed.
fn believed(held: &[Authority], state: &State) -> Option<Authority> {
    let of = |hash: [u8; 32]| held.iter().find(|authority| authority.hash() == hash).cloned();
    of(state.ca_hash).or_else(|| state.authorities.iter().rev().find_map(|known| of(known.hash)))
}

/// Only a folder of the present layout: to convert one would change it.
fn check_format(folder: &dyn Folder) -> Result<(), StartError> {
    let found = folder.read(file::FORMAT)?.unwrap_or_default();
    let found = String::from_utf8_lossy(&found);
    if found.trim() == FORMAT.to_string() {
        return Ok(());
    }
    if let Some(newer) = found.trim().parse().ok().filter(|found| *found > FORMAT) {
        return Err(of_newer(newer));
    }
    let message = format!("the data folder has format {}, and this version recovers format {FORMAT}", found.trim());
    Err(StartError::new(ErrorCode::Invalid, message)
        .help("start the node with this version once, which converts an older folder, and stop it"))
}

#[cfg(test)]
mod tests;
