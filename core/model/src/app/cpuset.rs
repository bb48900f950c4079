//! A choice of processors, as `0,2-3`.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// Processors above the highest number: the most that Linux can be built for on 64 bits.
const PROCESSORS_MAX: u32 = 8_192;

/// Processors by number, one at least. Written as lists are in cpuset(7): `0,2-3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(BTreeSet<u32>);

/// Why a text names no processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no processors; expected numbers below {PROCESSORS_MAX} and ranges of them, as \"0,2-3\"")]
pub struct InvalidCpuSet(String);

impl CpuSet {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether all of these are among those.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromStr for CpuSet {
    type Err = InvalidCpuSet;
    fn from_str(text: &str) -> Result<Self, InvalidCpuSet> {
        let refused = || InvalidCpuSet(text.chars().take(40).collect());
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|n| plain && *n < PROCESSORS_MAX).ok_or_else(refused)
        };
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(refused());
            }
            all.extend(first..=last);
        }
        Ok(Self(all))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = vec![];
        for number in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                Some(_) | None => ranges.push((*number, *number)),
            }
        }
        let words = ranges.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.pad(&words.collect::<Vec<_>>().join(","))
    }
}

impl TryFrom<String> for CpuSet {
    type Error = InvalidCpuSet;
    fn try_from(text: String) -> Result<Self, InvalidCpuSet> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::CpuSet;

    #[test]
    fn processors_are_written_as_the_kernel_writes_them() {
        for (given, kept, count) in [("0", "0", 1), ("3,1,2", "1-3", 3), ("0,2-3,2", "0,2-3", 3), ("0-0, 7", "0,7", 2)]
        {
            let set: CpuSet = given.parse().unwrap();
            assert_eq!((set.to_string().as_str(), set.count()), (kept, count), "{given}");
            assert_eq!(postcard::from_bytes::<CpuSet>(&postcard::to_stdvec(&set).unwrap()).unwrap(), set);
        }
        let two: CpuSet = "0-1".parse().unwrap();
        assert!("1".parse::<CpuSet>().unwrap().is_within(&two) && !"1-2".parse::<CpuSet>().unwrap().is_within(&two));
    }

    #[test]
    fn what_names_no_processors_is_refused() {
        for wrong in ["", ",", "1,", "a", "-1", "1-", "3-1", "1-2-3", "+1", "8192", "0x1", "0-4294967296"] {
            let error = wrong.parse::<CpuSet>().unwrap_err().to_string();
            assert!(error.contains("as \"0,2-3\""), "{wrong}: {error}");
        }
    }
}
