//! Numbers with a unit: sizes, durations, shares of processors.

use super::{error::AppFileError, item::Item};
use crate::Cpus;
use std::time::Duration;
use taffeta_calendar::parse_duration;
use toml::de::DeValue;

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const DURATIONS_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000)];

/// Most processors of one task, in thousandths; far above any machine, and far below what sums could overflow.
const MILLI_CPUS_MAX: f64 = 1e6 * 1000.0;

impl Item<'_> {
    /// A size in bytes: `"64MiB"`, `"500MB"`, or an integer.
    pub(super) fn size(&self) -> Result<u64, AppFileError> {
        let size = match self.value() {
            DeValue::String(s) => amount(s, &SIZES),
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        let what =
            "a whole number with kB, MB, GB, TB, KiB, MiB, GiB or TiB (below 2^64 bytes), or an integer of bytes";
        size.ok_or_else(|| self.expected(what))
    }

    /// `"500ms"`, `"1s"`, `"2m"`, `"1h"`.
    pub(super) fn duration(&self) -> Result<Duration, AppFileError> {
        let ms = self.value().as_str().and_then(|s| amount(s, &DURATIONS_MS));
        ms.map(Duration::from_millis).ok_or_else(|| self.expected("a whole number with ms, s, m or h"))
    }

    /// The same, or an ISO 8601 duration as Chronos writes it: `"PT15M"`.
    pub(super) fn iso_duration(&self) -> Result<Duration, AppFileError> {
        match self.value().as_str() {
            Some(text) if text.starts_with('P') => parse_duration(text).map_err(|e| self.error(e.to_string())),
            Some(_) | None => self.duration(),
        }
    }

    /// Processors as a number above 0, kept in thousandths.
    pub(super) fn cpus(&self) -> Result<Cpus, AppFileError> {
        let milli = self.milli().filter(|milli| (1.0..=MILLI_CPUS_MAX).contains(milli));
        milli.map(|milli| Cpus(milli as u64)).ok_or_else(|| self.expected("a number of processors of at least 0.001"))
    }

    /// A number above 0 in thousandths, at most `most` of them; `what` names it.
    pub(super) fn thousandths(&self, what: &str, most: u64) -> Result<u64, AppFileError> {
        let milli = self.milli().filter(|milli| (1.0..=most as f64).contains(milli));
        let most = most as f64 / 1000.0;
        milli.map(|milli| milli as u64).ok_or_else(|| self.expected(&format!("{what}, from 0.001 to {most}")))
    }

    /// A thousand times a number, rounded.
    fn milli(&self) -> Option<f64> {
        let number = match self.value() {
            DeValue::Float(x) => x.as_str().parse::<f64>().ok(),
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|n| n as f64),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        number.map(|number| (number * 1000.0).round())
    }
}

/// `64MiB` by a table of units; `None` if it is anything else or too large. A space before the unit is allowed.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = text[digits..].trim_start_matches(' ');
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}
