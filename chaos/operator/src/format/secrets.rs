//! The secrets of an experiment: what they are must be in no report.

use crate::text::{Node, Value};
use serde_json::Value as Json;
use std::{collections::BTreeSet, fmt};

/// What stands in place of a secret.
const MASK: &str = "***";

/// Values of `secrets`, as they may turn up in what is found. The longest first, as one may be a part of another.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a Node>) -> Self {
        let mut all = BTreeSet::new();
        values.for_each(|value| collect(value, &mut all));
        let mut all: Vec<String> = all.into_iter().collect();
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(all)
    }

    /// The same text without them.
    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// The same value without them, in its keys neither.
    pub fn mask_json(&self, value: Json) -> Json {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Json::String(text) => Json::String(self.mask(&text)),
            Json::Array(items) => Json::Array(items.into_iter().map(|item| self.mask_json(item)).collect()),
            Json::Object(map) => {
                Json::Object(map.into_iter().map(|(key, item)| (self.mask(&key), self.mask_json(item))).collect())
            }
            Json::Number(number) if self.0.contains(&number.to_string()) => Json::String(MASK.into()),
            other => other, // a foreign enum: the rest says nothing
        }
    }
}

/// Text and numbers of a value, however deep, also as they are written in URLs.
fn collect(value: &Node, all: &mut BTreeSet<String>) {
    let text = match &value.value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::List(items) => return items.iter().for_each(|item| collect(item, all)),
        Value::Map(entries) => return entries.iter().for_each(|entry| collect(&entry.node, all)),
        Value::Null | Value::Bool(_) => return,
    };
    if text.trim().is_empty() {
        return;
    }
    let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    all.extend([form.replace('+', "%20"), form, text.trim().to_owned(), text]);
}

/// The section `secrets` of a file without what is written there: where they come from may be told.
pub(crate) fn mask_section(source: &mut Json) {
    let Some(section) = source.get_mut("secrets") else { return };
    let Json::Object(groups) = section else {
        *section = MASK.into();
        return;
    };
    for group in groups.values_mut() {
        let Json::Object(entries) = group else {
            *group = MASK.into();
            continue;
        };
        for entry in entries.values_mut() {
            match entry.get("type") {
                Some(_) => entry.get_mut("default").into_iter().for_each(|default| *default = MASK.into()),
                None => *entry = MASK.into(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Secrets, mask_section};
    use serde_json::json;

    fn secrets(values: &[serde_json::Value]) -> Secrets {
        let values: Vec<Node> = values.iter().map(|value| Node::of_json(1, value)).collect();
        Secrets::of(values.iter())
    }

    #[test]
    fn a_secret_is_masked_wherever_it_is_also_in_urls() {
        let secrets = secrets(&[json!("hush"), json!("hush now/5"), json!(4711), json!({"deep": ["well"]}), json!("")]);
        assert_eq!(secrets.mask("hush now/5, hush"), "***, ***");
        assert_eq!(secrets.mask("http://x/?a=hush+now%2F5&b=hush%20now%2F5"), "http://x/?a=***&b=***");
        let found = json!({"status": 200, "hush": ["a hush", 4711, {"b": "well, well"}], "n": null});
        assert_eq!(
            secrets.mask_json(found),
            json!({"status": 200, "***": ["a ***", "***", {"b": "***, ***"}], "n": null})
        );
        assert_eq!(format!("{secrets:?}").find("hush"), None);
        assert_eq!(Secrets::default().mask("hush"), "hush");
    }

    #[test]
    fn where_a_secret_comes_from_may_be_told() {
        let mut source = json!({"title": "t", "secrets": {
            "api": {"literal": "hush", "deep": {"a": "hush"}, "token": {"type": "env", "key": "TOKEN", "default": "hush"}},
            "odd": "hush",
        }});
        mask_section(&mut source);
        assert_eq!(
            source["secrets"],
            json!({
                "api": {"literal": "***", "deep": "***", "token": {"type": "env", "key": "TOKEN", "default": "***"}},
                "odd": "***",
            })
        );
        let mut none = json!({"title": "t"});
        mask_section(&mut none);
        assert_eq!(none, json!({"title": "t"}));
    }
}
