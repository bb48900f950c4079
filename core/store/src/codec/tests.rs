mod commands;
mod format;
mod values;

use super::*;
use crate::{machine::Replicated, types::LogId};
use std::collections::BTreeMap;
use taffeta_model::{AppName, Command, State, TokenId, UnixMillis};

fn id(term: u64, index: u64) -> LogId {
    postcard::from_bytes(&postcard::to_stdvec(&(term, index)).unwrap()).unwrap()
}

fn old_token() -> v1::Token {
    v1::Token { secret_hash: [7; 32], expires: UnixMillis(9), uses: Some(2), used: 1 }
}

#[test]
fn entries_of_version_1_are_read_whatever_their_term_and_index() {
    let numbers = [(0, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 2), (127, 128), (255, 255), (u64::MAX, u64::MAX)];
    for (term, index) in numbers {
        for payload in [
            PayloadV1::Blank,
            PayloadV1::Normal(Box::new(v1::Command::Stop { app: AppName::new("shop").unwrap() })),
            PayloadV1::Normal(Box::new(v1::Command::CreateToken { id: TokenId(3), token: old_token() })),
        ] {
            let old = postcard::to_stdvec(&EntryV1 { log_id: id(term, index), payload }).unwrap();
            let read = decode_entry(&old).unwrap();
            assert_eq!((read.log_id.leader_id.term, read.log_id.index), (term, index));
            let again = decode_entry(&encode_entry(&read).unwrap()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{read:?}"));
        }
    }
    let old = EntryV1 {
        log_id: id(4, 5),
        payload: PayloadV1::Normal(Box::new(v1::Command::CreateToken { id: TokenId(3), token: old_token() })),
    };
    let read = decode_entry(&postcard::to_stdvec(&old).unwrap()).unwrap();
    let EntryPayload::Normal(Request { command, .. }) = &read.payload else { panic!("{read:?}") };
    let Command::CreateToken { id: TokenId(3), token } = &**command else { panic!("{read:?}") };
    assert_eq!((token.expires, token.uses, token.used), (UnixMillis(9), Some(2), 1));
}

#[test]
fn a_follower_stores_an_entry_as_it_was_sent_unless_an_earlier_version_sent_it() {
    let payload = EntryPayload::Normal(Request::new(Command::Stop { app: AppName::new("shop").unwrap() }));
    let own = Entry { log_id: id(2, 7), payload };
    let sent = stored(&own).unwrap();
    assert_eq!(*sent, *encode_entry(&own).unwrap());
    let read = decode_sent(&sent).unwrap();
    let EntryPayload::Normal(Request { encoded: Some(kept), .. }) = &read.payload else { panic!("{read:?}") };
    assert_eq!(*kept, sent);
    assert!(Arc::ptr_eq(&stored(&read).unwrap(), kept), "it is not encoded again");
    let old = EntryV1 {
        log_id: id(2, 7),
        payload: PayloadV1::Normal(Box::new(v1::Command::Stop { app: AppName::new("shop").unwrap() })),
    };
    let read = decode_sent(&postcard::to_stdvec(&old).unwrap()).unwrap();
    assert_eq!(*stored(&read).unwrap(), *sent, "in the version of this node");
}

#[test]
fn a_snapshot_of_version_1_is_read() {
    for applied in [None, Some(id(3, 9))] {
        let tokens = BTreeMap::from([(TokenId(3), old_token())]);
        let state = v1::State { generation: 0, tokens, ..v1::State::default() };
        let old = Replicated { applied, membership: Default::default(), state };
        let read = decode_snapshot(&postcard::to_stdvec(&old).unwrap()).unwrap();
        assert_eq!((read.applied, read.state.tokens.len(), read.state.level), (applied, 1, 1));
        let again = decode_snapshot(&encode_snapshot(&read).unwrap()).unwrap();
        assert_eq!(again.state, read.state);
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_in_words() {
    let mut snapshot = encode_snapshot(&Replicated { state: State::default(), ..Replicated::default() }).unwrap();
    snapshot[0] += 1;
    assert!(decode_snapshot(&snapshot).map(drop).unwrap_err().to_string().contains("newer version"));
    let mut entry = encode_entry(&Entry { log_id: id(1, 1), payload: EntryPayload::Blank }).unwrap();
    entry[1] += 1;
    assert!(decode_entry(&entry).unwrap_err().to_string().contains("newer version"));
}
