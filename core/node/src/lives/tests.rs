use super::*;
use taffeta_model::{ClusterId, Recovery, UnixMillis};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn life(start: u64, nonce: u64) -> Life {
    Life { start, nonce }
}

/// A node whose folder remembers these lives, the present one last.
fn lives(mine: &[(u64, u64)]) -> Lives {
    Lives::new(mine.iter().map(|(start, nonce)| life(*start, *nonce)).collect(), Generation::default())
}

/// A call as the transport makes it.
fn call(from: (NodeId, &Lives), to: (NodeId, &Lives)) -> Result<(), String> {
    loop {
        let (request, named) = from.1.request(to.0, b"vote")?;
        match to.1.take_request(from.0, &request).map_err(String::from) {
            Ok(taken) => {
                assert_eq!(taken, b"vote");
                return from.1.take_reply(to.0, named, &to.1.reply(b"yes")?).map(|reply| assert_eq!(reply, b"yes"));
            }
            Err(why) if from.1.take_refusal(to.0, &why) => {}
            Err(why) => return Err(why),
        }
    }
}

#[test]
fn a_later_life_takes_over_and_the_one_before_is_refused_from_then_on() {
    let (a, before, after) = (lives(&[(4, 1)]), lives(&[(7, 2)]), lives(&[(7, 2), (8, 3)]));
    call((A, &a), (B, &before)).unwrap();
    call((B, &before), (A, &a)).unwrap();
    call((B, &after), (A, &a)).unwrap();
    call((B, &before), (A, &a)).unwrap_err();
    assert!(before.is_over(), "it was told");
    call((B, &after), (A, &a)).unwrap();
    let later = lives(&[(7, 2), (8, 3), (9, 9)]);
    call((A, &a), (B, &later)).unwrap();
    assert_eq!(a.of(B), Some(life(9, 9)), "whoever is called shows by answering that it remembers");
}

#[test]
fn one_that_was_set_back_learns_it_before_anything_is_answered_however_often_it_is_started() {
    for stale in [&[(5, 1), (6, 2)][..], &[(6, 2), (7, 9)], &[(6, 2), (7, 9), (8, 8)], &[(6, 2), (7, 9), (90, 8)]] {
        for stale_calls in [true, false] {
            let (a, before, stale) = (lives(&[(4, 1)]), lives(&[(6, 2), (7, 2)]), lives(stale));
            call((A, &a), (B, &before)).unwrap();
            let refused = if stale_calls { call((B, &stale), (A, &a)) } else { call((A, &a), (B, &stale)) };
            refused.unwrap_err();
            assert!(stale.is_over());
            assert!(stale.request(A, b"vote").is_err(), "it asks nobody any more");
            assert_eq!(a.of(B), Some(life(7, 2)));
            call((B, &before), (A, &a)).unwrap();
        }
    }
}

#[test]
fn a_reply_of_a_life_that_is_over_or_of_unknown_descent_is_not_believed() {
    let (a, before) = (lives(&[(4, 1)]), lives(&[(7, 2)]));
    call((A, &a), (B, &before)).unwrap();
    for stale in [lives(&[(6, 9)]), lives(&[(7, 9)]), lives(&[(8, 9)])] {
        a.take_reply(B, None, &stale.reply(b"conflict").unwrap()).unwrap_err();
    }
}

#[test]
fn what_the_state_has_survives_the_restart_of_whoever_heard_it() {
    let (a, stale) = (lives(&[(4, 1), (5, 3)]), lives(&[(7, 9)]));
    a.learn(A, &BTreeMap::from([(A, life(4, 1)), (B, life(8, 3))]));
    assert!(!a.is_over());
    call((B, &stale), (A, &a)).unwrap_err();
    for set_back in [lives(&[(3, 1), (4, 7)]), lives(&[(3, 1), (4, 7), (5, 8)])] {
        set_back.learn(A, &BTreeMap::from([(A, life(4, 1))]));
        assert!(set_back.is_over(), "its own log knows of a life that the folder does not remember");
    }
}

#[test]
fn a_life_from_before_all_that_a_folder_remembers_cannot_be_told() {
    let (a, before, much_later) = (lives(&[(4, 1)]), lives(&[(7, 2)]), lives(&[(100, 1), (101, 2)]));
    call((A, &a), (B, &before)).unwrap();
    call((B, &much_later), (A, &a)).unwrap();
}

#[test]
fn nothing_is_taken_across_generations() {
    let (a, other) = (lives(&[(4, 1)]), lives(&[(5, 1)]));
    other.generation.adopt(&Recovery {
        cluster: ClusterId(1),
        generation: 1,
        node: B,
        date: UnixMillis(0),
        signature: vec![1; 64],
    });
    let (request, _) = a.request(B, b"vote").unwrap();
    assert_eq!(other.take_request(A, &request), Err(NotTaken::OtherGeneration));
    let (request, _) = other.request(A, b"vote").unwrap();
    assert_eq!(a.take_request(B, &request), Err(NotTaken::OtherGeneration));
    assert!(a.take_request(B, &[]).is_err() && a.take_request(B, &[0, 1]).is_err());
}

/// What stands before a consensus message, byte for byte: it is of every version of the protocol.
#[test]
fn the_head_of_a_consensus_message_stays_as_it_is() {
    let head = Head { from: life(300, 1), after: None, to: Some(life(2, 3)) };
    let [head, other] = [&head, &Head { after: Some(life(4, 5)), ..head }].map(|h| postcard::to_stdvec(h).unwrap());
    let life = |start: &[u8], nonce: u8| [start, &[nonce]].concat();
    assert_eq!(head, [life(&[0xac, 0x02], 1), vec![0], vec![1], life(&[2], 3)].concat());
    assert_eq!(other, [life(&[0xac, 0x02], 1), vec![1], life(&[4], 5), vec![1], life(&[2], 3)].concat());
}
