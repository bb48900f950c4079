use super::{Node, Wrong};
use serde_json::json;

const JSON: &str = "{\n  \"a\": [1, -2.5, \"x\\\"\\u00e9\"],\n  \"b\": {\n    \"c\": null, \"d\": true\n  }\n}\n";
const YAML: &str = "# words\na:\n  - 1\n  - -2.5\n  - x\"é\nb: {c: ~, d: true}\n";

fn line_of(node: &Node, path: &[&str]) -> usize {
    path.iter().fold(node, |node, key| node.entry(key).unwrap()).line
}

fn wrong(text: &str, name: &str) -> Wrong {
    Node::read(text, name).unwrap_err()
}

#[test]
fn json_and_yaml_give_the_same_values_each_with_its_line() {
    let (json, yaml) = (Node::read(JSON, "x").unwrap(), Node::read(YAML, "x").unwrap());
    assert_eq!(json.to_json(), json!({"a": [1, -2.5, "x\"é"], "b": {"c": null, "d": true}}));
    assert_eq!(yaml.to_json(), json.to_json());
    assert_eq!([line_of(&json, &["a"]), line_of(&json, &["b", "d"])], [2, 4]);
    assert_eq!([line_of(&yaml, &["a"]), line_of(&yaml, &["b", "d"])], [3, 6]);
}

#[test]
fn a_file_that_is_none_is_refused_with_the_line() {
    let json = wrong("{\n\"a\": 1,\n}", "x.json");
    assert_eq!(json.line, 3);
    assert!(json.what.starts_with("this is not JSON: "), "{json}");
    let yaml = wrong("a: 1\nb: [1\nc: 2\n", "x.yaml");
    assert!(yaml.line >= 2, "{yaml}");
    assert!(yaml.what.starts_with("this is not YAML: "), "{yaml}");
    assert_eq!(wrong("", "x.yaml").what, "the file is empty");
    assert_eq!(wrong("a: 1\n---\nb: 2\n", "x.yaml").what, "a second document begins here; a file holds one experiment");
}

#[test]
fn a_key_that_is_there_twice_is_refused_in_both() {
    assert_eq!(wrong("{\"a\": 1,\n\"a\": 2}", "x.json").to_string(), "line 2: the key `a` is on line 1, too");
    assert_eq!(wrong("a: 1\na: 2\n", "x.yaml").to_string(), "line 2: the key `a` is on line 1, too");
}

#[test]
fn yaml_scalars_follow_the_core_schema() {
    let text = "[yes, 'true', True, 0x1f, 0o17, 1e3, .5, null, \"\", 12:30, 1.2.3, +7]";
    let expected = json!(["yes", "true", true, 31, 15, 1000.0, 0.5, null, "", "12:30", "1.2.3", 7]);
    assert_eq!(Node::read(text, "x.yaml").unwrap().to_json(), expected);
    let block = Node::read("a: |\n  one\n  two\n", "x.yaml").unwrap();
    assert_eq!(block.to_json(), json!({"a": "one\ntwo\n"}));
}

#[test]
fn an_alias_is_what_it_stands_for_and_a_bomb_is_refused() {
    let text = "base: &b {x: 1}\nuse: *b\nmore:\n  <<: *b\n  y: 2\n";
    let expected = json!({"base": {"x": 1}, "use": {"x": 1}, "more": {"x": 1, "y": 2}});
    assert_eq!(Node::read(text, "x.yaml").unwrap().to_json(), expected);
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let of = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![of; 10].join(","));
    }
    assert!(wrong(&bomb, "x.yaml").what.contains("values"), "too many values");
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(wrong(&deep(200), "x.yaml").what.contains("levels deep"));
    wrong(&deep(100_000), "x.yaml"); // the parser's own limit, or ours: an error, and no overflow
    wrong(&deep(100_000), "x.json");
}
