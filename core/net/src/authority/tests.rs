use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn authority() -> Authority {
    Authority::create(ClusterId(5), [1; 32], NOW).unwrap()
}

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

#[test]
fn a_sealed_ca_opens_with_its_nodes_key() {
    let opened = authority().seal(&key(1), [4; 12]).open(&key(1)).unwrap();
    assert_eq!(opened.export(), authority().export());
    assert_eq!((opened.cluster(), opened.hash()), (ClusterId(5), authority().hash()));
}

#[test]
fn a_sealed_ca_does_not_open_with_another_key() {
    assert!(matches!(authority().seal(&key(1), [4; 12]).open(&key(2)), Err(CertificateError::Seal)));
}

#[test]
fn a_damaged_seal_does_not_open() {
    let sealed = authority().seal(&key(1), [4; 12]);
    for i in 0..sealed.sealed.len() {
        let mut damaged = sealed.clone();
        damaged.sealed[i] ^= 1;
        assert!(damaged.open(&key(1)).is_err(), "byte {i}");
    }
    let short = SealedAuthority { sealed: sealed.sealed[..20].to_vec(), ..sealed.clone() };
    assert!(short.open(&key(1)).is_err());
    let other_cluster = SealedAuthority { cluster: ClusterId(6), ..sealed };
    assert!(other_cluster.open(&key(1)).is_err());
}

#[test]
fn a_damaged_certificate_beside_the_seal_does_not_open() {
    let mut sealed = authority().seal(&key(1), [4; 12]);
    let middle = sealed.certificate.len() / 2;
    sealed.certificate[middle] ^= 1;
    assert!(sealed.open(&key(1)).is_err());
}

#[test]
fn the_seed_is_not_on_disk_in_the_clear() {
    let seed = [0x5a; 32];
    let authority = Authority::create(ClusterId(5), seed, NOW).unwrap();
    let stored = postcard::to_stdvec(&authority.seal(&key(1), [4; 12])).unwrap();
    assert!(!stored.windows(8).any(|w| w == &seed[..8]));
    assert!(!format!("{authority:?}").contains("5a5a") && !format!("{authority:?}").contains("90, 90"));
}

#[test]
fn an_exported_ca_certifies_as_the_first_one_does() {
    let imported = Authority::import(ClusterId(5), authority().export());
    assert_eq!(imported.hash(), authority().hash());
    let subject = key(3).public();
    let certificate = imported.certify(subject, NOW, Lives::default().certificate).unwrap();
    let certificate = certificate.into();
    let end = webpki::EndEntityCert::try_from(&certificate).unwrap();
    assert_eq!(PublicKey::from_spki(&end.subject_public_key_info()), Some(subject));
    let names: Vec<_> = end.valid_dns_names().collect();
    assert_eq!(names, [server_name(ClusterId(5), subject.node_id())]);
    let uris: Vec<_> = end.valid_uri_names().collect();
    assert_eq!(uris, [format!("spiffe://{:032x}/node/{}", 5, subject.node_id())]);
}

#[test]
fn what_the_ca_signed_is_known_by_its_certificate_and_nothing_else_is() {
    let ca = authority();
    let signature = ca.sign_message(b"generation 1");
    assert!(signed_by_authority(ca.certificate(), b"generation 1", &signature));
    assert!(!signed_by_authority(ca.certificate(), b"generation 2", &signature));
    let other = Authority::create(ClusterId(5), [2; 32], NOW).unwrap();
    assert!(!signed_by_authority(other.certificate(), b"generation 1", &signature));
    assert!(!signed_by_authority(ca.certificate(), b"generation 1", &key(9).sign(b"generation 1")), "a node's key");
    assert!(!signed_by_authority(&[], b"generation 1", &signature) && !signed_by_authority(ca.certificate(), b"", &[]));
}
