use super::{AppName, ClusterId, Fence, InvalidName, JobName, NodeId, NodeName, RESERVED_NAMES, TaskId, TokenId};

#[test]
fn names_are_dns_labels() {
    let long = "a".repeat(63);
    for good in ["a", "web-2", "0", long.as_str()] {
        assert_eq!(JobName::new(good).unwrap().as_str(), good);
    }
    let too_long = "a".repeat(64);
    for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", too_long.as_str()] {
        assert_eq!(NodeName::new(bad), Err(InvalidName::NotALabel(bad.into())));
    }
}

#[test]
fn reserved_names_are_refused_for_apps_alone() {
    for reserved in RESERVED_NAMES {
        assert_eq!(AppName::new(reserved), Err(InvalidName::Reserved(reserved.into())));
        assert!(JobName::new(reserved).is_ok());
    }
    assert_eq!(AppName::new("_dns"), Err(InvalidName::Reserved("_dns".into())));
}

#[test]
fn a_bad_name_is_refused_when_it_is_decoded() {
    assert!(serde_json::from_str::<AppName>("\"shop\"").is_ok());
    assert!(serde_json::from_str::<AppName>("\"leader\"").is_err());
    assert!(serde_json::from_str::<JobName>("\"../x\"").is_err());
}

#[test]
fn ids_come_back_from_what_they_show() {
    assert_eq!(NodeId(0xab).to_string(), "00000000000000ab");
    assert_eq!("00000000000000ab".parse(), Ok(NodeId(0xab)));
    assert_eq!(ClusterId(u128::MAX).to_string().parse(), Ok(ClusterId(u128::MAX)));
    for bad in ["", "+1", "-1", "0x1", "xyz", "11112222333344445"] {
        assert_eq!(bad.parse::<TokenId>(), Err(InvalidName::NotHexadecimal(bad.into())));
    }
}

#[test]
fn a_task_has_one_spelling() {
    let task: TaskId = "shop/web.2".parse().unwrap();
    assert_eq!((task.app.as_str(), task.job.as_str(), task.index), ("shop", "web", 2));
    assert_eq!((task.to_string(), task.short()), ("shop/web.2".into(), "web.2".into()));
    for bad in
        ["", "web.2", "shop/web", "shop/web.", "shop/web.+2", "shop/web.02", "shop/web.-1", "shop/web.4294967296"]
    {
        assert_eq!(bad.parse::<TaskId>(), Err(InvalidName::NotATask(bad.into())), "{bad}");
    }
    assert!(matches!("shop/web.x.2".parse::<TaskId>(), Err(InvalidName::NotALabel(_))));
    assert!(matches!("leader/web.2".parse::<TaskId>(), Err(InvalidName::Reserved(_))));
}

#[test]
fn fences_are_ordered_by_generation_then_term_then_index() {
    let fence = |generation, term, index| Fence { generation, term, index };
    assert!(fence(0, 9, 9) < fence(1, 0, 0));
    assert!(fence(1, 1, 9) < fence(1, 2, 0));
    assert!(fence(1, 2, 3) < fence(1, 2, 4));
    assert_eq!(fence(1, 2, 3).to_string(), "1.2.3");
}
