use super::*;
use crate::folder::DiskFolder;
use taffeta_net::SystemEntropy;

#[test]
fn a_token_is_kept_from_start_to_start_and_none_that_is_too_short() {
    let place = tempfile::tempdir().unwrap();
    let folder = DiskFolder::open(place.path()).unwrap();
    let first = token(&folder, &SystemEntropy).unwrap();
    let text = String::from_utf8(folder.read(TOKEN).unwrap().unwrap()).unwrap();
    assert!(is_one_of(&text, [&first].into_iter()));
    assert_eq!(token(&folder, &SystemEntropy).unwrap(), first);
    for short in ["", " \n", "secret\n"] {
        folder.write(TOKEN, short.as_bytes()).unwrap();
        let new = token(&folder, &SystemEntropy).unwrap();
        assert_ne!(new, sha256(short.trim().as_bytes()), "{short:?}");
        let text = String::from_utf8(folder.read(TOKEN).unwrap().unwrap()).unwrap();
        assert!(is_one_of(&text, [&new].into_iter()) && !is_one_of(&text, [&first].into_iter()));
    }
}

#[test]
fn nothing_is_no_token_though_a_node_has_told_its_hash() {
    let (nothing, short) = (sha256(b""), sha256(b"secret"));
    for token in ["", " ", "\n", "secret"] {
        assert!(!is_one_of(token, [&nothing, &short].into_iter()), "{token:?}");
    }
}
