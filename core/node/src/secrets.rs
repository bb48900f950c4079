//! The verbs about secrets: values come in here and never go out again but to the machines of their tasks.

use crate::{
    api::{ApiError, ErrorCode, SecretUser, SecretView},
    events::rfc3339,
    node::{Core, refused, unknown_outcome},
    wire::{Ask, Told, Veiled},
};
use std::time::Duration;
use taffeta_model::{Command, Outcome, Refusal, SECRET_BYTES_MAX, Secret, SecretName};
use taffeta_net::CallError;
use taffeta_secrets::Fresh;
use taffeta_store::WriteError;
use tokio::time::{Instant, sleep};

/// How long a secret may take to be set.
const LIMIT: Duration = Duration::from_secs(8);
/// Pause before a leader is asked again that was none.
const AGAIN: Duration = Duration::from_millis(200);
/// Tries of a leader whose version somebody else has used meanwhile.
const TRIES: usize = 8;

impl Core {
    /// Sets a secret through whoever leads; gives its version.
    pub(crate) async fn set_secret(&self, name: SecretName, value: Secret) -> Result<u64, ApiError> {
        check(&value)?;
        let ask = Ask::SetSecret(name.clone(), Veiled(value.clone()));
        let deadline = Instant::now() + LIMIT;
        loop {
            let leader = self.wait_for_leader().await?;
            let result = if leader == self.me {
                self.set_secret_here(&name, &value).await
            } else {
                match self.ask(leader, &ask, LIMIT).await {
                    Ok(Told::SecretSet(result)) => result,
                    // Never sent, or refused before it was looked at: another leader may be there soon.
                    Err(CallError::Unreachable(..) | CallError::UnknownNode(_)) => Err(self.no_quorum()),
                    Ok(_) | Err(CallError::Refused(_)) => Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
                    Err(CallError::Timeout | CallError::Broken(_)) => return Err(unknown_outcome()),
                }
            };
            match result {
                Err(e) if e.code == ErrorCode::NoQuorum && Instant::now() < deadline => sleep(AGAIN).await,
                result => return result,
            }
        }
    }

    /// Encrypts and writes a secret; this node must lead.
    pub(crate) async fn set_secret_here(&self, name: &SecretName, value: &Secret) -> Result<u64, ApiError> {
        check(value)?;
        for _ in 0..TRIES {
            if !self.consensus.borrow().leads {
                return Err(self.no_quorum()); // refused before it is proposed, so that nothing can take effect later
            }
            let Some(kek) = self.keyring.kek() else {
                return Err(ApiError::new(
                    ErrorCode::NoQuorum,
                    "the leader has not yet received the key-encryption key",
                )
                .help("try again in a moment"));
            };
            let mut fresh = Fresh { key: [0; 32], nonce: [0; 12] };
            self.entropy.fill(&mut fresh.key);
            self.entropy.fill(&mut fresh.nonce);
            let version = self.store.read(|state| state.next_secret_version(name));
            let envelope = kek.encrypt(self.cluster, (name, version), value, &fresh);
            let bytes = u32::try_from(value.expose().len()).unwrap_or(u32::MAX);
            let command = Command::SetSecret { name: name.clone(), version, bytes, envelope, now: self.clock.date() };
            match self.store.write(command, LIMIT).await {
                Ok(Outcome::Done(_)) => return Ok(version),
                Ok(Outcome::Refused(Refusal::Outdated)) => {}
                Ok(Outcome::Refused(why)) => return Err(refused(&why)),
                Err(WriteError::NotLeader(_)) => return Err(self.no_quorum()),
                Err(WriteError::DiskFull) => return Err(self.disk_full()),
                Err(WriteError::NoQuorum | WriteError::Ended(_)) => return Err(unknown_outcome()),
            }
        }
        Err(ApiError::new(ErrorCode::Conflict, format!("`{name}` is being set by others at this moment"))
            .help("look at `taffeta secret list`, then try again"))
    }

    /// The secrets, without their values.
    pub(crate) fn secrets_view(&self) -> Vec<SecretView> {
        self.store.read(|state| {
            let view =
                |(name, secret): (&SecretName, &taffeta_model::SecretState)| {
                    let newest = secret.newest()?;
                    let user = |(app, job, version): (taffeta_model::AppName, taffeta_model::JobName, u64)| {
                        SecretUser { app: app.to_string(), service: job.to_string(), version }
                    };
                    Some(SecretView {
                        name: name.to_string(),
                        version: secret.newest,
                        bytes: newest.bytes,
                        changed: rfc3339(newest.changed),
                        used_by: state.secret_users(name).into_iter().map(user).collect(),
                    })
                };
            state.secrets.iter().filter_map(view).collect()
        })
    }
}

fn check(value: &Secret) -> Result<(), ApiError> {
    let bytes = value.expose().len();
    if (1..=SECRET_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    let message = format!("the value has {bytes} bytes; 1 to {SECRET_BYTES_MAX} are kept");
    Err(ApiError::new(ErrorCode::Invalid, message).field("value"))
}
