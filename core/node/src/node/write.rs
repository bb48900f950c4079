//! Users' writes: a command goes to whoever leads, is checked there and written once; and what is refused says so in
//! words.
//!
//! Left out: what a command changes, which is the state's; what only the leader itself writes, which is `lead`'s.

use super::{Core, NOT_NOW};
use crate::{
    api::{ApiError, ErrorCode},
    asking::is_not_known,
    consensus::Consensus,
    wire::{Ask, Told},
};
use std::{sync::Arc, time::Duration};
use taffeta_model::{App, Bug, ClusterId, Command, Fence, NodeId, Outcome, Refusal, UnixMillis, planted};
use taffeta_net::CallError;
use taffeta_store::WriteError;
use tokio::time::{Instant, timeout};

/// How long a write that found no leader waits for news before it looks again.
const SUBMIT_PAUSE: Duration = Duration::from_millis(20);
/// How many nodes in turn are believed who leads, before that pause.
const HOPS_MAX: usize = 2;
/// How long a leader's answer is still waited for after another one leads, if it lives: longer than a heartbeat in a LAN,
/// which tells it that what it was asked is written.
const OVERTAKEN: Duration = Duration::from_millis(200);
/// How long a user's write may take.
pub(super) const SUBMIT_LIMIT: Duration = Duration::from_secs(8);
/// Longer than any leader waits for its own write.
const UNTIL_KNOWN: Duration = Duration::from_secs(24 * 3_600);
/// How long a write waits for a leader with room on its disk to take over from one without.
const HEIR_WAIT: Duration = Duration::from_secs(3);

/// What became of a write.
pub(super) enum Tried {
    /// It was written or refused, or nobody knows.
    Ended(Result<Fence, ApiError>),
    /// Nothing was written, since another one leads: that one, if one is known.
    Elsewhere(Option<NodeId>),
}

impl Core {
    /// Writes a user's command through whoever leads. It is tried again only while it is sure that nothing was written.
    pub(crate) async fn submit(&self, command: Command) -> Result<Fence, ApiError> {
        let deadline = Instant::now() + SUBMIT_LIMIT;
        let (mut hint, mut hops) = (None, 0);
        let heirs_until = Instant::now() + HEIR_WAIT;
        loop {
            let leader = match hint.take() {
                Some(leader) => leader,
                None => self.wait_for_leader().await?,
            };
            let mut news = self.consensus.subscribe();
            let tried = if leader == self.me {
                self.submit_here(command.clone()).await
            } else {
                Box::pin(self.submit_to(leader, command.clone())).await // a large future, which few need
            };
            match tried {
                // It hands the leadership over, if there is somebody with room who can take it.
                Tried::Ended(Err(e))
                    if e.code == ErrorCode::DiskFull && self.has_heirs() && Instant::now() < heirs_until =>
                {
                    drop(timeout(SUBMIT_PAUSE, news.changed()).await);
                }
                Tried::Ended(result) => return result,
                Tried::Elsewhere(_) if Instant::now() >= deadline => return Err(self.no_quorum()),
                // While leaders change, two nodes may take each other for the leader.
                Tried::Elsewhere(Some(other)) if other != leader && hops < HOPS_MAX => {
                    (hint, hops) = (Some(other), hops + 1);
                }
                // There may be a leader soon, or the same one may have its quorum again.
                Tried::Elsewhere(_) => {
                    hops = 0;
                    let _ = timeout(SUBMIT_PAUSE, news.changed()).await;
                }
            }
        }
    }

    /// Lets another node write a user's command.
    async fn submit_to(&self, leader: NodeId, command: Command) -> Tried {
        let level = command.level();
        let ask = Ask::Submit(command);
        let asked = self.ask(leader, &ask, SUBMIT_LIMIT);
        // If another leads meanwhile, what was asked is written by now or never will be: it need not be waited for.
        let mut known = self.consensus.subscribe();
        let before = known.borrow_and_update().leader;
        let overtaken = async {
            let other = |c: &Consensus| c.leader != before && c.leader.is_some_and(|(other, _)| other != leader);
            let _ = known.wait_for(other).await;
            let answers = self.net().probe_live(leader, OVERTAKEN / 5).await;
            if answers == Some(true) {
                tokio::time::sleep(OVERTAKEN).await;
            }
        };
        let told = tokio::select! {
            told = asked => told,
            () = overtaken => return Tried::Ended(Err(unknown_outcome())),
        };
        match told {
            Ok(Told::Submitted(result)) => Tried::Ended(result),
            Ok(Told::Elsewhere(other)) => Tried::Elsewhere(other),
            // Never sent, or refused before it was looked at: another leader may be there soon.
            Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Tried::Elsewhere(None),
            Ok(_) => Tried::Ended(Err(ApiError::new(ErrorCode::Failed, "an unexpected reply"))),
            Err(CallError::Refused(why)) if why.starts_with(NOT_NOW) => Tried::Elsewhere(None),
            // A leader of an older version: not all members speak what this command needs.
            Err(CallError::Refused(why)) if is_not_known(&why) => {
                Tried::Ended(Err(refused(&Refusal::AboveLevel(level))))
            }
            Err(CallError::Refused(why)) => Tried::Ended(Err(ApiError::new(ErrorCode::Failed, why))),
            Err(CallError::Timeout | CallError::Broken(_)) => Tried::Ended(Err(unknown_outcome())),
        }
    }

    fn has_heirs(&self) -> bool {
        self.consensus.borrow().voters.len() > 1
    }

    /// The refusal of a leader without room. Another voter may lead in a moment; a lone one has nobody to hand over to.
    pub(crate) fn disk_full(&self) -> ApiError {
        let message = format!("the disk of {} is full: writes are refused until there is room", self.name());
        ApiError::new(ErrorCode::DiskFull, message)
            .help("nothing was changed; running tasks, reads and DNS go on. Make room on its disk, then try again")
    }

    /// Writes a user's command; this node must lead.
    pub(super) async fn submit_here(&self, command: Command) -> Tried {
        match &command {
            Command::Deploy { .. }
            | Command::Scale { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::CreateToken { .. }
            | Command::RevokeToken { .. }
            | Command::RemoveSecret { .. }
            | Command::SetQuota { .. }
            | Command::RemoveQuota { .. }
            | Command::Drain { .. }
            | Command::Rollback { seen_version: None, reason: None, .. }
            | Command::Pause { .. }
            | Command::Maintain { .. }
            | Command::ResetVolume { .. }
            | Command::RemoveVolume { .. }
            | Command::BlockChaos(_)
            | Command::OptIntoChaos { .. }
            | Command::Promote { seen_version: None, .. }
            | Command::Run { .. } => {}
            Command::Init { .. }
            | Command::RaiseLevel(_)
            | Command::Started { .. }
            | Command::Join { .. }
            | Command::Refresh { .. }
            | Command::RemoveMember { .. }
            | Command::RotateAuthority { .. }
            | Command::FinishRotation { .. }
            | Command::Place(_)
            | Command::Remove(_)
            | Command::Fire(_)
            | Command::Finish { .. }
            | Command::Release(_)
            | Command::Settle { .. }
            | Command::Autoscale { .. }
            | Command::Rollback { .. }
            | Command::Promote { .. }
            | Command::SetSecret { .. } => {
                let refusal = ApiError::new(ErrorCode::Forbidden, "this is for the leader itself to write");
                return Tried::Ended(Err(refusal));
            }
        }
        let known = self.consensus.borrow().leader;
        // A log that has just begun has its first entry to come: nothing may stand before the cluster's birth.
        let unborn = self.store.read(|state| state.cluster == ClusterId::default());
        if !self.consensus.borrow().leads || unborn {
            // Refused before it is proposed, so that nothing can take effect later.
            return Tried::Elsewhere(known.map(|(leader, _)| leader).filter(|leader| *leader != self.me));
        }
        if let Command::Deploy { app, now } = &command
            && let Err(refusal) = self.check_schedules(app, *now)
        {
            return Tried::Ended(Err(refusal));
        }
        if matches!(&command, Command::SetQuota { .. }) {
            return self.write_between_plans(command).await;
        }
        self.try_write_here(command).await
    }

    /// Writes what narrows the room that plans have: none that was made without it is written after it.
    async fn write_between_plans(&self, command: Command) -> Tried {
        let Ok(turn) = timeout(SUBMIT_LIMIT, Arc::clone(&self.planning).lock_owned()).await else {
            return Tried::Ended(Err(self.no_quorum()));
        };
        let store = self.store.clone();
        // On, when it is waited for no more: until it has taken effect, or another leads, who plans with it or will never
        // see it.
        let written = tokio::spawn(async move {
            let _turn = turn;
            store.write(command, UNTIL_KNOWN).await
        });
        self.tried(match timeout(SUBMIT_LIMIT, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(ended)) => Err(WriteError::Ended(ended.to_string())),
            Err(_) => Err(WriteError::NoQuorum),
        })
    }

    /// Refuses cron jobs that are never due again. It is not for the state to do: that must not depend on the time zones
    /// that a binary knows.
    pub(crate) fn check_schedules(&self, app: &App, now: UnixMillis) -> Result<(), ApiError> {
        let checked = self.store.read(|state| {
            let known = state.apps.get(&app.name).map(|known| &*known.app);
            app.check_schedules(now, known)
        });
        checked.map_err(|e| refused(&Refusal::Invalid { field: e.field, message: e.message }))
    }

    /// Writes a command that has been checked; this node must lead.
    pub(crate) async fn write_here(&self, command: Command) -> Result<Fence, ApiError> {
        match self.try_write_here(command).await {
            Tried::Ended(result) => result,
            Tried::Elsewhere(_) => Err(self.no_quorum()),
        }
    }

    async fn try_write_here(&self, command: Command) -> Tried {
        let odd =
            matches!(&command, Command::CreateToken { token, .. } if token.uses.is_some_and(|uses| uses % 2 == 1));
        if planted(Bug::LoseOrder) && odd {
            let store = self.store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                store.write(command, SUBMIT_LIMIT).await
            });
            return Tried::Ended(Ok(self.store.read(|state| state.applied)));
        }
        self.tried(self.store.write(command, SUBMIT_LIMIT).await)
    }

    fn tried(&self, written: Result<Outcome, WriteError>) -> Tried {
        Tried::Ended(match written {
            Ok(Outcome::Done(at)) => Ok(at),
            Ok(Outcome::Refused(why)) => Err(refused(&why)),
            Err(WriteError::NotLeader(other)) => return Tried::Elsewhere(other),
            Err(WriteError::DiskFull) => Err(self.disk_full()),
            Err(WriteError::NoQuorum) if planted(Bug::AcknowledgeAlone) => Ok(self.store.read(|state| state.applied)),
            Err(e @ (WriteError::NoQuorum | WriteError::Ended(_))) if planted(Bug::RefuseAndWrite) => {
                Err(ApiError::new(ErrorCode::Failed, e.to_string()))
            }
            Err(WriteError::NoQuorum) => Err(unknown_outcome()),
            Err(e @ WriteError::Ended(_)) => {
                let unknown = unknown_outcome();
                Err(ApiError { message: format!("{e}; it may still take effect"), ..unknown })
            }
        })
    }
}

pub(crate) fn unknown_outcome() -> ApiError {
    ApiError::new(ErrorCode::Timeout, "no majority of the voters acknowledged in time; it may still take effect")
        .help("look at `taffeta status` and at what is there before you try again")
}

/// A refusal for people.
pub(crate) fn refused(why: &Refusal) -> ApiError {
    let message = why.to_string();
    match why {
        Refusal::UnknownApp(_) | Refusal::UnknownJob(..) | Refusal::UnknownMember(_) => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta apps` lists what is there")
        }
        Refusal::UnknownSecret { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta secret list` lists what is there")
        }
        Refusal::NoSuchVersion { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta apps -o json` tells the present version")
        }
        Refusal::UnknownVolume { .. } => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta volume list` lists what is there")
        }
        Refusal::UnknownQuota(_) => {
            ApiError::new(ErrorCode::NotFound, message).help("`taffeta quota list` lists what is there")
        }
        Refusal::SecretInUse { .. } => ApiError::new(ErrorCode::Conflict, message)
            .help("take it out of those apps first, or remove it regardless: --force"),
        Refusal::Invalid { field, .. } => ApiError::new(ErrorCode::Invalid, message).field(field.clone()),
        Refusal::AlreadyInitialised
        | Refusal::UnknownToken
        | Refusal::WrongSecret
        | Refusal::TokenExpired(_)
        | Refusal::TokenUsedUp(_)
        | Refusal::NameTaken(..)
        | Refusal::AddressTaken(..)
        | Refusal::KeyMismatch(_)
        | Refusal::RemovedKey(_)
        | Refusal::LastMember(_)
        | Refusal::RotationUnderWay
        | Refusal::NoRotation
        | Refusal::Full(..)
        | Refusal::Outdated
        | Refusal::RunUnderWay(..)
        | Refusal::VolumeInUse { .. }
        | Refusal::AboveLevel(_) => ApiError::new(ErrorCode::Conflict, message),
    }
}
