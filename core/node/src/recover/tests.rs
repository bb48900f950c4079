use super::*;
use taffeta_model::CertificateAuthority;

fn authority(seed: u8) -> Authority {
    Authority::create(ClusterId(7), [seed; 32], UnixMillis(0)).unwrap()
}

/// A state in which this CA signs, and these are believed.
fn signed_by(signing: &Authority, believed: &[&Authority]) -> State {
    let known = |ca: &&Authority| CertificateAuthority {
        hash: ca.hash(),
        certificate: vec![],
        cross: vec![],
        since: UnixMillis(0),
    };
    State { ca_hash: signing.hash(), authorities: believed.iter().map(known).collect(), ..State::default() }
}

#[test]
fn a_recovery_is_signed_by_a_ca_that_the_old_generation_believes() {
    let (first, second) = (authority(1), authority(2));
    let signs = |held: &[&Authority], state: &State| {
        let held: Vec<Authority> = held.iter().copied().cloned().collect();
        believed(&held, state).map(|found| found.hash())
    };
    let before = signed_by(&first, &[]);
    assert_eq!(signs(&[&first, &second], &before), Some(first.hash()), "the second one was prepared and never came");
    assert_eq!(signs(&[&second], &before), None);
    let after = signed_by(&second, &[&first, &second]);
    assert_eq!(signs(&[&first, &second], &after), Some(second.hash()));
    assert_eq!(signs(&[&first], &after), Some(first.hash()), "the key of the second one has not come here yet");
}
