//! Placement rules: `FIELD OPERATOR [VALUE]`.

use super::{
    error::AppFileError,
    item::{Item, nearest},
};
use crate::{Constraint, Operator, PREFERENCE_WEIGHT_MAX, Preference};

/// All of Marathon's operators, so that a mistyped one finds its nearest.
const OPERATORS: [&str; 7] = ["UNIQUE", "IS", "MAX_PER", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE"];

pub(super) fn read_constraint(item: &Item<'_>) -> Result<Constraint, AppFileError> {
    let mut words = item.string()?.split_whitespace();
    let (Some(field), Some(operator)) = (words.next(), words.next()) else {
        return Err(item.expected("FIELD OPERATOR [VALUE]").help("as in `\"hostname UNIQUE\"`"));
    };
    let value = words.collect::<Vec<_>>().join(" ");
    Ok(Constraint { field: field.into(), operator: read_operator(item, operator, &value)? })
}

fn read_operator(item: &Item<'_>, operator: &str, value: &str) -> Result<Operator, AppFileError> {
    match operator {
        "UNIQUE" if value.is_empty() => Ok(Operator::Unique),
        "UNIQUE" => Err(item.error(format!("UNIQUE takes no value, found `{value}`"))),
        "IS" if value.is_empty() => Err(item.error("IS needs a value").help("as in `\"zone IS north\"`")),
        "IS" => Ok(Operator::Is(value.into())),
        "MAX_PER" => {
            let most = value.parse().ok().filter(|n| *n > 0 && !value.starts_with('+'));
            let bad = || item.error(format!("MAX_PER needs a whole number of at least 1, found `{value}`"));
            most.map(Operator::MaxPer).ok_or_else(|| bad().help("as in `\"zone MAX_PER 2\"`"))
        }
        "CLUSTER" => Ok(Operator::Cluster((!value.is_empty()).then(|| value.into()))),
        "GROUP_BY" if value.is_empty() => Ok(Operator::GroupBy(None)),
        "GROUP_BY" => {
            let groups = value.parse().ok().filter(|n| *n > 0 && !value.starts_with('+'));
            let bad = || item.error(format!("GROUP_BY takes a whole number of at least 1, found `{value}`"));
            groups.map(|n| Operator::GroupBy(Some(n))).ok_or_else(|| bad().help("as in `\"zone GROUP_BY 3\"`"))
        }
        "LIKE" | "UNLIKE" if value.is_empty() => {
            let message = format!("{operator} needs a regular expression");
            Err(item.error(message).help(format!("as in `\"hostname {operator} db-[0-9]+\"`")))
        }
        "LIKE" => Ok(Operator::Like(value.into())),
        "UNLIKE" => Ok(Operator::Unlike(value.into())),
        _ => {
            let nearest = nearest(&operator.to_uppercase(), &OPERATORS);
            Err(item.error(format!("unknown operator `{operator}`; did you mean `{nearest}`?")))
        }
    }
}

/// The weight of a preference that says nothing about it.
const WEIGHT: i16 = 100;

/// `"disk IS ssd"`, or `{ rule = "disk IS ssd", weight = 50 }`.
pub(super) fn read_preference(item: &Item<'_>) -> Result<Preference, AppFileError> {
    if !item.value().is_table() {
        return Ok(Preference { rule: read_constraint(item)?, weight: WEIGHT });
    }
    let (mut rule, mut weight) = (None, WEIGHT);
    for (key, item) in item.entries()? {
        match key {
            "rule" => rule = Some(read_constraint(&item)?),
            "weight" => weight = item.signed("a weight", PREFERENCE_WEIGHT_MAX)?,
            _ => return Err(item.unknown_key(key, &["rule", "weight"])),
        }
    }
    let rule = rule.ok_or_else(|| item.missing("rule", "a rule, as \"disk IS ssd\""))?;
    Ok(Preference { rule, weight })
}
