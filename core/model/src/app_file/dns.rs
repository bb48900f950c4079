//! `dns = { ... }`: how DNS answers for a service.

use super::{error::AppFileError, item::Item};
use crate::{ANSWERS_MAX, DnsEmpty, DnsOrder, DnsPolicy, WEIGHT_MAX};
use std::num::NonZeroU8;

const KEYS: [&str; 4] = ["order", "answers", "empty", "weight"];
const ORDERS: [(&str, DnsOrder); 3] =
    [("random", DnsOrder::Random), ("weighted", DnsOrder::Weighted), ("near", DnsOrder::Near)];
const EMPTIES: [(&str, DnsEmpty); 2] = [("nodata", DnsEmpty::NoData), ("nxdomain", DnsEmpty::NxDomain)];

/// Reads `dns`.
pub(super) fn read_dns(item: &Item<'_>) -> Result<DnsPolicy, AppFileError> {
    let mut policy = DnsPolicy::default();
    for (key, item) in item.entries()? {
        match key {
            "order" => policy.order = one_of(&item, &ORDERS)?,
            "answers" => {
                let answers = item.whole("a number of records", 1, ANSWERS_MAX.into())?;
                policy.answers = u8::try_from(answers).ok().and_then(NonZeroU8::new);
            }
            "empty" => policy.empty = one_of(&item, &EMPTIES)?,
            "weight" => {
                let weight = item.whole("a weight", 0, WEIGHT_MAX.into())?;
                policy.weight = u16::try_from(weight).map_err(|_| item.error("too large a weight"))?;
            }
            _ => return Err(item.unknown_key(key, &KEYS)),
        }
    }
    Ok(policy)
}

fn one_of<T: Copy>(item: &Item<'_>, known: &[(&str, T)]) -> Result<T, AppFileError> {
    let word = item.string()?;
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let names = || known.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    found.ok_or_else(|| item.expected(&names()))
}
