use super::{VICTIMS, victims};
use crate::list::Listed;

fn ring(members: usize) -> Vec<Listed> {
    let roles = ["leader", "voter", "voter", "learner", "learner"].into_iter().chain(vec!["member"; members]);
    let listed = |(index, role): (usize, &str)| Listed {
        name: format!("n{}", index + 1),
        state: "alive".into(),
        role: role.into(),
    };
    roles.enumerate().map(listed).collect()
}

fn names(list: &[Listed], round: usize) -> Vec<&str> {
    victims(list, round).iter().map(|m| m.name.as_str()).collect()
}

#[test]
fn a_round_never_kills_the_quorum() {
    for list in [ring(2), ring(35)] {
        for round in 0..6 {
            let victims = victims(&list, round);
            assert_eq!(victims.len(), VICTIMS, "{victims:?}");
            let voters = victims.iter().filter(|m| m.role == "leader" || m.role == "voter");
            assert!(voters.count() <= 1, "{victims:?}");
        }
    }
}

#[test]
fn leader_voter_and_members_have_their_turns() {
    let list = ring(35);
    assert_eq!(names(&list, 0), ["n1", "n40", "n39"]);
    assert_eq!(names(&list, 1), ["n3", "n5", "n40"]);
    assert_eq!(names(&list, 2), ["n40", "n39", "n38"]);
    assert_eq!(names(&list, 3), names(&list, 0));
}
