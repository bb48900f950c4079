use super::*;
use proptest::prelude::*;

fn token() -> JoinToken {
    JoinToken { cluster: ClusterId(7), ca_hash: [3; 32], id: TokenId(0xfeed), secret: [9; 16] }
}

proptest! {
    #[test]
    fn a_token_survives_being_copied(cluster: u128, ca_hash: [u8; 32], id: u64, secret: [u8; 16]) {
        let token = JoinToken { cluster: ClusterId(cluster), ca_hash, id: TokenId(id), secret };
        let text = token.to_string();
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
        prop_assert_eq!(format!(" {text}\n").parse(), Ok(token));
    }

    #[test]
    fn a_token_with_another_character_is_damaged(place: prop::sample::Index, by in "[A-Za-z0-9_-]") {
        let text = token().to_string();
        let at = PREFIX.len() + place.index(text.len() - PREFIX.len());
        let changed = format!("{}{by}{}", &text[..at], &text[at + 1..]);
        prop_assume!(changed != text);
        prop_assert_eq!(changed.parse::<JoinToken>(), Err(InvalidToken::Damaged));
    }

    #[test]
    fn any_string_is_parsed_or_refused(text in any::<String>()) {
        prop_assert!(text.parse::<JoinToken>().is_err());
        prop_assert_eq!(format!("{PREFIX}{text}").parse::<JoinToken>(), Err(InvalidToken::Damaged));
    }
}

#[test]
fn a_token_that_was_not_copied_whole_is_damaged() {
    let text = token().to_string();
    for end in PREFIX.len()..text.len() {
        assert_eq!(text[..end].parse::<JoinToken>(), Err(InvalidToken::Damaged), "{}", &text[..end]);
    }
    assert_eq!(format!("{text}A").parse::<JoinToken>(), Err(InvalidToken::Damaged));
}

#[test]
fn a_string_of_another_kind_is_no_token() {
    for text in ["", "taffeta1", "taffeta2.AAAA", "Taffeta1.AAAA", "https://example.org/token", "SWMTKN-1-49nj1cmq"] {
        assert_eq!(text.parse::<JoinToken>(), Err(InvalidToken::NotAToken), "{text}");
    }
}

#[test]
fn trailing_bytes_are_damage_even_with_the_right_checksum() {
    let mut bytes = postcard::to_stdvec(&token()).unwrap();
    bytes.push(0);
    bytes.extend_from_slice(&sha256(&bytes)[..4]);
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_eq!(text.parse::<JoinToken>(), Err(InvalidToken::Damaged));
}

#[test]
fn the_secret_is_not_shown_by_debug() {
    let shown = format!("{:?}", JoinToken { secret: [0xab; 16], ..token() });
    assert_eq!(shown, "JoinToken(000000000000feed of 00000000000000000000000000000007)");
}
