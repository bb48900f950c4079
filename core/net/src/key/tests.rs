use super::*;

#[test]
fn a_node_id_is_the_hash_of_its_key() {
    // The first test vector of RFC 8032, section 7.1, and the SHA-256 of its public key.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let key = NodeKey::from_seed(bytes(seed));
    assert_eq!(key.public(), PublicKey(bytes(public)));
    assert_eq!(key.public().node_id().to_string(), NODE_ID);
}

/// `echo d75a98...511a | xxd -r -p | sha256sum`, the first 16 digits.
const NODE_ID: &str = "21fe31dfa154a261";

fn bytes(hexadecimal: &str) -> [u8; 32] {
    std::array::from_fn(|i| u8::from_str_radix(&hexadecimal[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn a_signature_holds_for_its_message_and_key_only() {
    let (key, other) = (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]));
    let signature = key.sign(b"set 5");
    assert!(key.public().verify(b"set 5", &signature));
    assert!(!key.public().verify(b"set 6", &signature));
    assert!(!other.public().verify(b"set 5", &signature));
    assert!(!key.public().verify(b"set 5", &signature[..63]));
    assert!(!key.public().verify(b"set 5", b""));
}

#[test]
fn keys_derived_for_different_purposes_differ() {
    let key = NodeKey::from_seed([1; 32]);
    assert_ne!(key.derive("a"), key.derive("b"));
    assert_ne!(key.derive("a"), NodeKey::from_seed([2; 32]).derive("a"));
}

#[test]
fn only_an_ed25519_key_is_taken_from_a_certificate() {
    let key = NodeKey::from_seed([1; 32]).public();
    let whole = [&SPKI_HEADER[..], &key.0].concat();
    assert_eq!(PublicKey::from_spki(&whole), Some(key));
    assert_eq!(PublicKey::from_spki(&whole[..43]), None);
    assert_eq!(PublicKey::from_spki(&[&whole[..], &[0]].concat()), None);
    let mut x25519 = whole;
    x25519[8] = 0x6e;
    assert_eq!(PublicKey::from_spki(&x25519), None);
}

#[test]
fn the_seed_is_not_shown_by_debug() {
    let key = NodeKey::from_seed([1; 32]);
    assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.public().node_id()));
}
