//! Sizes and durations as people write them on the command line, in the app file's spelling.

use std::time::Duration;
use taffeta_model::{Cpus, check_resource_name};

/// Most processors of one machine or quota: more is a slip.
const CPUS_MAX: f64 = 1e6;

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("", 1),
];
const DURATIONS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];

/// `64KiB`, `1MB`, `500`: bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    amount(text, &SIZES).ok_or_else(|| "write a whole number of bytes, or one with kB, MB, KiB or MiB, as 64KiB".into())
}

/// `500ms`, `60s`, `2m`, `1h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let ms = amount(text, &DURATIONS_MS).map(Duration::from_millis);
    ms.ok_or_else(|| "write a whole number with ms, s, m, h or d, as 60s".into())
}

/// `2`, `0.5`: processors, kept in thousandths.
pub(crate) fn cpus(text: &str) -> Result<Cpus, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=CPUS_MAX).contains(n));
    let cpus = number.map(|n| Cpus((n * 1000.0).round() as u64));
    cpus.ok_or_else(|| format!("`{text}` is not a number of processors, as 2 or 0.5"))
}

/// `gpu=2`: a countable resource.
pub(crate) fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=N, as gpu=2"))?;
    check_resource_name(name)?;
    let number = number.parse::<u32>().map_err(|_| format!("`{text}`: `{number}` is not a whole number"))?;
    Ok((name.into(), number.into()))
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = units.iter().find(|(unit, _)| *unit == &text[end..])?.1;
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes with the largest unit that leaves three digits: `7.8GiB`.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    let (unit, factor) = match bytes {
        0..1024 => return format!("{bytes}B"),
        1024..1_048_576 => ("KiB", 10),
        1_048_576..1_073_741_824 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    let amount = bytes as f64 / (1u64 << factor) as f64;
    if amount.fract() == 0.0 { format!("{amount}{unit}") } else { format!("{amount:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::{bytes_in_words, cpus, duration, resource, size};
    use std::time::Duration;
    use taffeta_model::Cpus;

    #[test]
    fn processors_may_be_parts_of_one() {
        assert_eq!(["2", "0.25", "0", "1e1"].map(cpus), [2000, 250, 0, 10_000].map(|milli| Ok(Cpus(milli))));
        for wrong in ["", "-1", "NaN", "inf", "1e9", "2 cores"] {
            assert!(cpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_resource_has_a_name_and_a_whole_number() {
        assert_eq!(resource("gpu=2"), Ok(("gpu".into(), 2)));
        for wrong in ["gpu", "gpu=", "=2", "gpu=-1", "gpu=1.5", "GPU=1", "cpus=1", "gpu=4294967296"] {
            assert!(resource(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_needs_a_known_unit_and_must_fit() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("500"), Ok(500));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "KiB", "-1KiB", "1.5MiB", "64 kib", "18446744073709551615KiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "60", "s", "-1s", "1w"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_told_in_their_largest_unit() {
        for (bytes, words) in [(0, "0B"), (1023, "1023B"), (65_536, "64KiB"), (1_610_612_736, "1.5GiB")] {
            assert_eq!(bytes_in_words(bytes), words);
        }
    }
}
