//! Placement rules: `FIELD OPERATOR [VALUE]`.

use super::{
    error::AppFileError,
    item::{Item, nearest},
};
use crate::{Constraint, Operator};

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
        "CLUSTER" | "GROUP_BY" | "LIKE" | "UNLIKE" => {
            let message = format!("the operator {operator} is not supported by this version");
            Err(item.error(message).help("UNIQUE, IS and MAX_PER are"))
        }
        _ => {
            let nearest = nearest(&operator.to_uppercase(), &OPERATORS);
            Err(item.error(format!("unknown operator `{operator}`; did you mean `{nearest}`?")))
        }
    }
}
