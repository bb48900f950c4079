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
    fabric::open_log,
    folder::{DiskFolder, FORMAT, Folder, Membership, Settings, file, load},
    start_error::{StartError, folder_error},
};
use std::path::Path;
use taffeta_model::{ClusterId, Recovery, UnixMillis};
use taffeta_net::{Authority, NodeKey, SealedAuthority, SystemEntropy};
use taffeta_store::{Offline, SegmentDisk, Sizes};

/// What to do with a folder that no node was made of.
const NOT_A_NODE: &str = "give the data folder of a stopped node: --data DIR";

/// A folder that is held, and all that is needed of it.
struct Held {
    folder: DiskFolder,
    settings: Settings,
    key: NodeKey,
    membership: Membership,
    authority: Option<Authority>,
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
    let mine = held.view();
    for other in others {
        mine.check_comparable(other).map_err(|why| StartError::new(ErrorCode::Invalid, why))?;
        if mine.knows_less_than(other) && !force {
            let message = format!("`{}` knows more than this node: {}", other.name, mine.loss_against(other));
            return Err(StartError::new(ErrorCode::Conflict, message)
                .help(format!("recover on `{}`; or give up what only it knows: --force", other.name)));
        }
    }
    if let Some(data) = authority_of {
        held.borrow_authority(data)?;
    }
    let Some(authority) = &held.authority else { return Err(no_authority()) };
    let survey = held.offline.survey();
    let node = held.key.public().node_id();
    let mut recovery = Recovery {
        cluster: held.membership.cluster,
        generation: survey.state.generation.saturating_add(1),
        node,
        date: now,
        signature: vec![],
    };
    recovery.signature = authority.sign_message(&recovery.signed_part()).to_vec();
    let generation = recovery.generation;
    let above = others.iter().map(SurveyView::highest_term).max().unwrap_or_default();
    let at = held.offline.recover(node, held.settings.advertise, recovery, above).map_err(StartError::failed)?;
    Ok(Recovered { node, name: held.settings.name, generation, at: at.into() })
}

impl Held {
    async fn open(data: &Path) -> Result<Self, StartError> {
        let nobody = || {
            let message = format!("{} is not the data folder of a member", data.display());
            StartError::new(ErrorCode::Invalid, message).help(NOT_A_NODE)
        };
        // Looked for first: locking a folder makes it.
        if !data.join(file::MEMBERSHIP).is_file() || !data.join(file::LOG).exists() {
            return Err(nobody());
        }
        let folder = DiskFolder::open(data).map_err(folder_error)?;
        check_format(&folder)?;
        if folder.read(file::STALE)?.is_some() {
            return Err(crate::place::stale());
        }
        let membership: Membership = load(&folder, file::MEMBERSHIP)?.ok_or_else(nobody)?;
        let settings = load_settings(&folder)?.ok_or_else(|| StartError::damaged(file::SETTINGS))?;
        let key = birth::key(&folder, &SystemEntropy)?;
        let authority = authority(&folder, &key, membership.cluster)?;
        let node = key.public().node_id();
        let log = SegmentDisk::open(open_log(data, node).await?, node, Sizes::default()).map_err(StartError::failed)?;
        let offline = Offline::open(Box::new(log)).map_err(StartError::failed)?;
        let held = Self { folder, settings, key, membership, authority, offline };
        if held.offline.survey().state.cluster != held.membership.cluster {
            let message = format!("`{}` holds no replicated state: it neither voted nor followed", held.settings.name);
            return Err(StartError::new(ErrorCode::Conflict, message).help(
                "recover on a node that was a voter, or a learner; `taffeta nodes` on any member shows the roles",
            ));
        }
        Ok(held)
    }

    /// Takes the CA key out of another node's folder, where that node had sealed it, and seals it into this one.
    fn borrow_authority(&mut self, data: &Path) -> Result<(), StartError> {
        let other = DiskFolder::open(data).map_err(folder_error)?;
        let key = birth::key(&other, &SystemEntropy)?;
        let found = authority(&other, &key, self.membership.cluster)?;
        let found = found.ok_or_else(|| {
            let message = format!("{} does not hold the CA key of this cluster", data.display());
            StartError::new(ErrorCode::Conflict, message).help("give the data folder of a node that was a voter")
        })?;
        birth::seal_authorities(&self.folder, &SystemEntropy, &self.key, std::slice::from_ref(&found))?;
        self.authority = Some(found);
        Ok(())
    }
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

/// The CA that signs, as the node sealed it: the newest of those that it holds.
fn authority(folder: &dyn Folder, key: &NodeKey, cluster: ClusterId) -> Result<Option<Authority>, StartError> {
    let sealed: Vec<SealedAuthority> = load(folder, file::AUTHORITY)?.unwrap_or_default();
    let opened: Result<Vec<Authority>, _> = sealed.into_iter().map(|s| s.open(key)).collect();
    let mut opened = opened.map_err(|_| StartError::damaged(file::AUTHORITY))?;
    opened.retain(|authority| authority.cluster() == cluster);
    Ok(opened.pop())
}

/// Only a folder of the present layout: to convert one would change it.
fn check_format(folder: &dyn Folder) -> Result<(), StartError> {
    let found = folder.read(file::FORMAT)?.unwrap_or_default();
    let found = String::from_utf8_lossy(&found);
    if found.trim() == FORMAT.to_string() {
        return Ok(());
    }
    let message = format!("the data folder has format {}, and this version recovers format {FORMAT}", found.trim());
    Err(StartError::new(ErrorCode::Invalid, message)
        .help("start the node with this version once, which converts an older folder, and stop it"))
}
