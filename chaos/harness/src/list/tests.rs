use super::{Listed, check};

fn list(states: &[(&str, &str)]) -> Vec<Listed> {
    let listed =
        |(name, state): &(&str, &str)| Listed { name: (*name).into(), state: (*state).into(), role: "member".into() };
    states.iter().map(listed).collect()
}

#[test]
fn only_those_who_are_asked_about_count() {
    let list = list(&[("n1", "alive"), ("n2", "down"), ("n3", "down")]);
    assert_eq!(check(&list, &["n2", "n3"], "down"), Ok(()));
    assert_eq!(check(&list, &["n1"], "alive"), Ok(()));
}

#[test]
fn other_states_and_unknown_machines_are_told() {
    let list = list(&[("n1", "alive"), ("n2", "suspect"), ("n3", "down")]);
    assert_eq!(check(&list, &["n1", "n2", "n3", "n4"], "down"), Err("1 alive, 1 suspect, 1 unknown".into()));
}
