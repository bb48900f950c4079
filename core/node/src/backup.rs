//! A backup of the cluster: what the leader knows, and the cluster's keys encrypted to the recovery key.

use crate::{
    api::{ApiError, ErrorCode},
    events::rfc3339,
    node::Core,
    wire::{Ask, Told, encode},
};
use std::time::Duration;
use taffeta_net::CallError;
use taffeta_secrets::{Backup, BackupHeader, Keys};
use taffeta_store::encode_state;
use tokio::time::{Instant, sleep};

/// How long a backup may take: as much as a snapshot may have to travel.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the leader may take to confirm with its quorum that it leads.
const CONFIRM_LIMIT: Duration = Duration::from_secs(2);
/// Pause before a leader is asked again that was none.
const AGAIN: Duration = Duration::from_millis(200);

impl Core {
    /// A backup, from whoever leads: everything is in it that was acknowledged before it was asked for.
    pub(crate) async fn backup(&self) -> Result<Vec<u8>, ApiError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let leader = self.wait_for_leader().await?;
            let result = if leader == self.me {
                self.backup_here().await
            } else {
                match self.ask(leader, &Ask::Backup, LIMIT).await {
                    Ok(Told::Backup(result)) => result,
                    Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Err(self.no_quorum()),
                    Ok(_) | Err(CallError::Refused(_)) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
                    Err(e @ (CallError::Timeout | CallError::Broken(_))) => {
                        Err(ApiError::new(ErrorCode::Timeout, format!("the leader did not give a backup: {e}")))
                    }
                }
            };
            match result {
                Err(e) if e.code == ErrorCode::NoQuorum && Instant::now() < deadline => sleep(AGAIN).await,
                result => return result,
            }
        }
    }

    /// A backup; this node must lead.
    pub(crate) async fn backup_here(&self) -> Result<Vec<u8>, ApiError> {
        if self.store.confirm_leadership(CONFIRM_LIMIT).await.is_err() {
            return Err(self.no_quorum());
        }
        let authority = self.signing_authority();
        let (Some(authority), Some(kek)) = (authority, self.keyring.kek()) else {
            return Err(ApiError::new(ErrorCode::NoQuorum, "the leader has not yet received the cluster's keys")
                .help("try again in a moment"));
        };
        let mut ephemeral = [0; 32];
        self.entropy.fill(&mut ephemeral);
        let taken_at = rfc3339(self.clock.date());
        let (state, position, recovery, header) = self.store.read(|state| {
            let mut machines: Vec<String> = state.members.values().map(|member| member.name.to_string()).collect();
            machines.sort();
            let header = BackupHeader {
                cluster: state.cluster.to_string(),
                generation: state.generation,
                position: state.applied.to_string(),
                taken_at,
                node: self.settings.name.to_string(),
                version: env!("CARGO_PKG_VERSION").into(),
                machines,
                apps: state.apps.keys().map(ToString::to_string).collect(),
                secrets: state.secrets.keys().map(ToString::to_string).collect(),
                state_bytes: 0,
                keys_bytes: 0,
            };
            (encode_state(state), state.applied, state.recovery_key, header)
        });
        let keys = Keys { cluster: self.cluster, position, authority: encode(&authority.export()), kek: kek.export() };
        Ok(Backup::write(header, &state, &keys, &recovery, ephemeral))
    }
}
