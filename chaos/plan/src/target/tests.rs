use super::Target;
use proptest::prelude::*;

fn service(service: &str, app: &str) -> Target {
    Target::Service { app: app.into(), service: service.into() }
}

#[test]
fn targets_are_written_as_an_operator_writes_them() {
    let examples = [
        (Target::Node("n2".into()), "n2"),
        (Target::Leader, "leader"),
        (Target::Voters, "voters"),
        (Target::One, "one"),
        (Target::Minority, "minority"),
        (Target::Majority, "majority"),
        (Target::All, "all"),
        (Target::Zone("a".into()), "zone=a"),
        (Target::Zone("rack 1/left=up".into()), "zone=rack 1/left=up"),
        (service("web", "shop"), "service=web/shop"),
    ];
    for (target, text) in examples {
        assert_eq!(target.to_string(), text);
        assert_eq!(text.parse(), Ok(target.clone()));
        assert_eq!(serde_json::to_value(&target).unwrap(), text);
        assert_eq!(serde_json::from_value::<Target>(text.into()).unwrap(), target);
    }
}

#[test]
fn a_node_named_like_a_role_is_not_taken_for_it() {
    let node = Target::Node("leader".into());
    assert_eq!(node.to_string(), "node=leader");
    assert_eq!("node=leader".parse(), Ok(node));
    assert_eq!("node=n2".parse(), Ok(Target::Node("n2".into())));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = [
        "",
        "Leader",
        " one",
        "n_2",
        "-n",
        "zone=",
        "zone=\n",
        "node=",
        "service=web",
        "service=/shop",
        "service=web/",
        "service=web/shop/x",
        "rack=1",
        "=",
        "ü",
    ];
    for text in refused {
        assert!(text.parse::<Target>().is_err(), "{text:?}");
        assert!(serde_json::from_value::<Target>(text.into()).is_err(), "{text:?}");
    }
    assert!("n".repeat(64).parse::<Target>().is_err());
    let message = "Leader".parse::<Target>().unwrap_err().to_string();
    assert!(message.starts_with("`Leader` is not a target: write leader, voters, one"), "{message}");
}

proptest! {
    #[test]
    fn what_reads_as_a_target_is_written_as_the_same_target(
        text in "(node=|zone=|service=)?([a-z0-9-]{1,9}|one|all|leader)(/[a-z0-9=/]{1,4})?",
    ) {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
        }
    }
}
