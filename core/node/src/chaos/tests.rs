use super::journal::{Told, VERSION, unix_millis};
use super::watch::BlockEvents;
use super::*;
use crate::folder::DiskFolder;
use taffeta_chaos_plan::Fault;
use taffeta_model::UnixMillis;
use taffeta_net::SystemEntropy;

/// A node that has not opted in, with a journal of a time when it had.
fn chaos() -> (tempfile::TempDir, Chaos) {
    let place = tempfile::tempdir().unwrap();
    let folder = DiskFolder::open(place.path()).unwrap();
    let chaos = Chaos::open(place.path(), None, &folder, &SystemEntropy, None).unwrap();
    chaos.journal.make().unwrap();
    (place, chaos)
}

fn record(id: &str) -> Record {
    Record {
        version: VERSION,
        id: id.into(),
        run: "r".into(),
        node: "n1".into(),
        fault: Fault::Drain,
        backend: "fabric".into(),
        commands: vec![],
        peers: vec![],
        ends: vec![],
        task: None,
        boot: boot_id(),
        begins: boot_millis(),
        until: boot_millis() + 60_000,
        begun_at: unix_millis(),
        ends_at: unix_millis() + 60_000,
        agent: agent_file::this().unwrap(),
        deed: Deed::Drain,
    }
}

fn block(reason: &str) -> ChaosBlock {
    ChaosBlock { by: "n1".parse().unwrap(), at: UnixMillis(1), reason: reason.into() }
}

fn unfinished(chaos: &Chaos) -> Vec<String> {
    chaos.unfinished().into_iter().map(|entry| entry.record.id).collect()
}

#[test]
fn what_was_blocked_is_not_written_down_and_what_was_written_down_before_is_found() {
    let (_place, chaos) = chaos();
    let begins = chaos.add(&record("00000001")).unwrap();
    assert_eq!(chaos.inside().begins.as_deref(), Some("00000001"));
    chaos.inside().blocked = Some(block("enough"));
    assert_eq!(unfinished(&chaos), ["00000001"], "as whoever blocks does it");
    drop(begins);
    assert_eq!(chaos.inside().begins, None);
    let refused = chaos.add(&record("00000002")).unwrap_err();
    assert!(matches!(refused, NotBegun::Blocked(why) if why == block("enough")));
    assert_eq!((unfinished(&chaos), chaos.inside().begins.clone()), (vec!["00000001".into()], None));
}

#[test]
fn a_block_that_was_told_is_lifted_with_the_one_that_was_written_down() {
    let (_place, chaos) = chaos();
    let (one, other) = (block("one"), block("other"));
    let left = |told: &ChaosBlock, was: Option<&ChaosBlock>, is: Option<&ChaosBlock>| {
        chaos.inside().blocked = Some(told.clone());
        chaos.lift_told_block(was, is);
        chaos.inside().blocked.is_some()
    };
    assert!(!left(&one, Some(&one), None), "the allowance was not heard");
    assert!(left(&one, None, None), "it was never written down");
    assert!(left(&one, None, Some(&one)), "it is written down now");
    assert!(left(&one, Some(&other), None), "a newer one was told since");
    assert!(left(&one, Some(&one), Some(&other)), "a newer one is written down");
}

#[test]
fn a_block_that_is_read_after_its_end_was_heard_is_no_news() {
    let (one, other) = (block("one"), block("other"));
    let mut events = BlockEvents::default();
    let seen = [Some(&one), Some(&one), None, Some(&one), None, Some(&other), Some(&one), Some(&other), None];
    let news: Vec<_> = seen.into_iter().filter_map(|block| events.news(block)).collect();
    assert_eq!(news, [Some(&one), None, Some(&other), None]);
}

#[test]
fn an_end_that_nobody_has_told_is_remembered() {
    let (_place, chaos) = chaos();
    for id in ["00000001", "00000002", "00000003"] {
        chaos.journal.add(&record(id)).unwrap();
    }
    for id in ["00000001", "00000002"] {
        chaos.journal.tell(id, &Told::undone(None)).unwrap();
    }
    chaos.journal.hear("00000001").unwrap();
    chaos.remember_unheard();
    assert_eq!(chaos.inside().told, [("00000002".to_owned(), FaultState::Active)].into());
}

#[test]
fn a_name_that_was_forgotten_may_be_used_again() {
    let (_place, chaos) = chaos();
    drop(chaos.add(&record("00000001")).unwrap());
    chaos.journal.tell("00000001", &Told::undone(None)).unwrap();
    assert_eq!(unfinished(&chaos), Vec::<String>::new());
    assert_eq!(chaos.inside().over, ["00000001".to_owned()].into());
    drop(chaos.add(&record("00000001")).unwrap());
    assert_eq!(unfinished(&chaos), ["00000001"]);
    // Nothing is kept of what the journal has forgotten.
    chaos.inside().over.insert("0000000f".into());
    assert_eq!(unfinished(&chaos), ["00000001"]);
    assert_eq!(chaos.inside().over, BTreeSet::new());
}

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
