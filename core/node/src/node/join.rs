//! Whether a machine may join, and what it is given: the leader's side.
//!
//! Left out: the machine's own side, which is `birth`'s; tokens and what becomes of them, which is the state's.

use super::{Core, NOT_NOW, OLD_VERSION, write::SUBMIT_LIMIT};
use crate::wire::{Ask, JoinRequest, Told, Welcome};
use taffeta_model::{Command, Outcome};
use taffeta_net::{PublicKey, sha256};

impl Core {
    /// Decides whether a machine may join, here if this node leads, else by asking the one that does.
    pub(crate) async fn decide_join(&self, request: JoinRequest) -> Result<Box<Welcome>, String> {
        let not_now = |why: &dyn std::fmt::Display| format!("{NOT_NOW}{why}");
        let leader = self.wait_for_leader().await.map_err(|e| not_now(&e.message))?;
        if leader != self.me {
            return match self.ask(leader, &Ask::Join(request), SUBMIT_LIMIT).await {
                Ok(Told::Joined(result)) => result,
                Ok(_) => Err("an unexpected reply of the leader".into()),
                Err(e) => Err(not_now(&format!("the leader does not answer: {e}"))),
            };
        }
        let key = PublicKey(request.member.public_key);
        let signed = JoinRequest::signed_part(request.token, &request.member);
        if key.node_id() != request.member.id || !key.verify(&signed, &request.signature) {
            return Err("the request is not signed by the key that it names".into());
        }
        let level = self.store.read(taffeta_model::State::spoken_level);
        if request.speaks.max < level {
            return Err(format!(
                "all members speak version {level} of the protocol, and this machine {OLD_VERSION} {}: upgrade it",
                request.speaks
            ));
        }
        let authority = self.signing_authority().ok_or_else(|| not_now(&"the leader has no CA key yet"))?;
        let (secret_hash, now) = (sha256(&request.secret), self.clock.date());
        // Looked at before anything is written: a stranger must not be able to fill the log.
        self.store.read(|state| state.check_token(request.token, &secret_hash, now)).map_err(|why| why.to_string())?;
        let join = Command::Join { token: request.token, secret_hash, now, member: request.member };
        match self.store.write(join, SUBMIT_LIMIT).await {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Refused(why)) => return Err(why.to_string()),
            Err(e) => return Err(not_now(&e)),
        }
        // A rotation may have come in between.
        let authority = self.signing_authority().unwrap_or(authority);
        let certificate = authority
            .certify(key, self.dates.agreed(), self.certificate_lives.certificate)
            .map_err(|e| e.to_string())?;
        tracing::info!(node = %key.node_id(), "a machine joined");
        Ok(Box::new(self.store.read(|state| Welcome {
            cluster: state.cluster,
            certificate,
            authority: authority.certificate().to_vec(),
            members: state.members.values().map(|m| (m.id, m.address)).collect(),
            voters: self.consensus.borrow().voters.clone(),
            directory: state.directory(),
        })))
    }
}
