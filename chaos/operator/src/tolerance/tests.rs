use crate::format::read_tolerance;
use serde_json::{Value as Json, json};

/// Cases that were compared with chaoslib 1.44's own verdicts.
fn met(tolerance: &Json, value: &Json) -> bool {
    read_tolerance(&tolerance.to_string()).unwrap().is_met(value).unwrap()
}

#[test]
fn a_scalar_is_equal_or_the_status_is() {
    assert!(met(&json!(200), &json!({"status": 200, "body": "x"})));
    assert!(!met(&json!(200), &json!({"status": 503})));
    assert!(met(&json!(3), &json!(3)) && met(&json!(1), &json!(1.0)));
    assert!(met(&json!("n2"), &json!("n2")) && !met(&json!("n2"), &json!("n3")));
    assert!(met(&json!(true), &json!(true)) && !met(&json!(true), &json!(false)));
}

#[test]
fn a_list_of_two_is_a_range_and_a_longer_one_a_set() {
    assert!(met(&json!([1, 3]), &json!(2.5)) && !met(&json!([1, 3]), &json!(4)));
    assert!(met(&json!([200, 204]), &json!({"status": 204})) && !met(&json!([200, 204]), &json!({"status": 202})));
    assert!(met(&json!(["a", "b", "c"]), &json!("b")) && !met(&json!(["a", "b", "c"]), &json!("d")));
    assert!(!met(&json!([1, 3]), &json!("2")));
}

#[test]
fn a_pattern_is_searched_in_the_named_part() {
    let tolerance = json!({"type": "regex", "target": "stdout", "pattern": "^ok [0-9]+$"});
    assert!(met(&tolerance, &json!({"status": 0, "stdout": "ok 12"})));
    assert!(!met(&tolerance, &json!({"status": 0, "stdout": "not ok"})));
    assert!(met(&json!({"type": "regex", "pattern": "alive"}), &json!("3 alive")));
}

#[test]
fn a_path_finds_what_is_expected() {
    let value = json!({"status": 200, "body": "{\"nodes\": [{\"state\": \"alive\"}, {\"state\": \"down\"}]}"});
    let path = |rest: Json| {
        let mut tolerance = json!({"type": "jsonpath", "target": "body", "path": "$.nodes[?(@.state=='alive')].state"});
        tolerance.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        met(&tolerance, &value)
    };
    assert!(path(json!({})) && path(json!({"count": 1})) && !path(json!({"count": 2})));
    assert!(path(json!({"expect": "alive"})) && path(json!({"expect": ["alive"]})));
    assert!(!path(json!({"expect": ["alive", "alive"]})));
    assert!(!met(&json!({"type": "jsonpath", "path": "$.leader"}), &json!({"node": "n1"})));
}

#[test]
fn a_range_takes_a_number_also_as_text() {
    let tolerance = json!({"type": "range", "range": [0.9, 1], "target": "stdout"});
    assert!(met(&tolerance, &json!({"stdout": "0.95\n"})) && !met(&tolerance, &json!({"stdout": "0.5"})));
    assert!(!met(&tolerance, &json!({"stdout": "none"})));
}
