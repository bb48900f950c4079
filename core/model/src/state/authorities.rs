//! The cluster's CAs: which one signs, and which one is still believed while it is replaced.

use super::State;
use crate::{Fence, Refusal, UnixMillis};
use serde::{Deserialize, Serialize};

/// Most CAs that are believed at once: the one that signs and the one before it.
pub const AUTHORITIES_MAX: usize = 2;

/// Largest certificate of a CA, in bytes: ours have some 400.
pub const CERTIFICATE_BYTES_MAX: usize = 4_096;

/// A CA that is believed. Its key is in no log: voters give it to one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateAuthority {
    /// SHA-256 of its certificate.
    pub hash: [u8; 32],
    /// Its certificate, signed by itself, DER.
    pub certificate: Vec<u8>,
    /// Its key as signed by the CA before it, DER, for those who believe only that one, also when that one has ended; empty
    /// if it is the first. Never the other way round: with it a certificate of the former CA would be believed for ever.
    pub cross: Vec<u8>,
    /// When it was made, for people.
    pub since: UnixMillis,
}

impl State {
    pub(super) fn rotate_authority(
        &mut self,
        at: Fence,
        former: &CertificateAuthority,
        next: &CertificateAuthority,
    ) -> Result<(), Refusal> {
        if self.authorities.last().is_some_and(|ca| ca.hash == next.hash) {
            return Ok(()); // asked twice, since the answer was lost; the cross certificates may be of another moment
        }
        if self.authorities.len() >= AUTHORITIES_MAX {
            return Err(Refusal::RotationUnderWay);
        }
        let invalid =
            |field: &str, message: &str| Err(Refusal::Invalid { field: field.into(), message: message.into() });
        if former.hash != self.ca_hash {
            return invalid("former", "it is not the CA that signs now");
        }
        if next.hash == former.hash {
            return invalid("next", "it is the CA that signs now");
        }
        let ders = [&former.certificate, &next.certificate, &next.cross];
        if ders.iter().any(|der| der.is_empty() || der.len() > CERTIFICATE_BYTES_MAX) {
            return invalid(
                "certificate",
                "each CA has a certificate, the next one a cross certificate; at most 4096 bytes",
            );
        }
        let cross = self.authorities.last().map(|known| known.cross.clone()).unwrap_or_default();
        self.authorities = vec![CertificateAuthority { cross, ..former.clone() }, next.clone()];
        self.ca_hash = next.hash;
        self.directory_fence = at;
        Ok(())
    }

    pub(super) fn finish_rotation(&mut self, at: Fence, former: &[u8; 32]) -> Result<(), Refusal> {
        let under_way = self.authorities.len() == AUTHORITIES_MAX && self.authorities[0].hash == *former;
        if !under_way {
            return Err(Refusal::NoRotation);
        }
        self.authorities.remove(0);
        self.directory_fence = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AUTHORITIES_MAX, CertificateAuthority, State};
    use crate::{Command, Fence, Outcome, Refusal, UnixMillis};

    fn ca(n: u8) -> CertificateAuthority {
        CertificateAuthority { hash: [n; 32], certificate: vec![n], cross: vec![n, n], since: UnixMillis(n.into()) }
    }

    fn apply(state: &mut State, command: Command) -> Result<(), Refusal> {
        let at = Fence { index: state.applied.index + 1, ..state.applied };
        match state.apply(at, &command) {
            Outcome::Done(_) => Ok(()),
            Outcome::Refused(why) => Err(why),
        }
    }

    fn rotate(former: u8, next: u8) -> Command {
        Command::RotateAuthority { former: ca(former), next: ca(next) }
    }

    #[test]
    fn two_are_believed_until_the_former_ends() {
        let mut state = State { ca_hash: [1; 32], ..State::default() };
        apply(&mut state, rotate(1, 2)).unwrap();
        assert_eq!((state.ca_hash, state.authorities.len()), ([2; 32], AUTHORITIES_MAX));
        let first = CertificateAuthority { cross: vec![], ..ca(1) };
        assert_eq!(state.directory().authorities, [first.clone(), ca(2)], "nobody has signed the first one's key");
        assert_eq!(state.directory_fence, state.applied);
        assert_eq!(apply(&mut state, rotate(2, 3)), Err(Refusal::RotationUnderWay));
        apply(&mut state, rotate(1, 2)).unwrap(); // its answer was lost
        let later = CertificateAuthority { cross: vec![9], ..ca(2) };
        apply(&mut state, Command::RotateAuthority { former: ca(1), next: later }).unwrap();
        assert_eq!(state.authorities, [first, ca(2)]);
        assert_eq!(apply(&mut state, Command::FinishRotation { former: [2; 32] }), Err(Refusal::NoRotation));
        apply(&mut state, Command::FinishRotation { former: [1; 32] }).unwrap();
        assert_eq!(state.authorities, [ca(2)]);
        assert_eq!(state.directory_fence, state.applied);
        assert_eq!(apply(&mut state, Command::FinishRotation { former: [1; 32] }), Err(Refusal::NoRotation));
        apply(&mut state, rotate(2, 3)).unwrap();
        assert_eq!(state.authorities, [ca(2), ca(3)]);
    }

    #[test]
    fn a_rotation_begins_with_the_ca_that_signs_and_with_whole_certificates() {
        let mut state = State { ca_hash: [1; 32], ..State::default() };
        let bad = [
            rotate(5, 2),
            rotate(1, 1),
            Command::RotateAuthority { former: ca(1), next: CertificateAuthority { cross: vec![], ..ca(2) } },
            Command::RotateAuthority {
                former: ca(1),
                next: CertificateAuthority { certificate: vec![0; 4_097], ..ca(2) },
            },
        ];
        for command in bad {
            let refused = apply(&mut state, command.clone());
            assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{command:?}: {refused:?}");
        }
        assert!(state.authorities.is_empty());
    }
}
