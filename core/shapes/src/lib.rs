//! Recorded shapes: what is stored or sent, byte for byte, in a text file beside the test that holds it. Other versions have
//! written such bytes, or will read ours, so a file never changes once its version is released.
//!
//! TAFFETA_RECORD_FORMAT=1 lets a test write the file that is missing. Left out: what the bytes mean, and who reads them.

use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// Advice where two nodes would not understand each other any more.
pub const WIRE: &str = "nodes of other versions send and read it. A new field is a new variant beside the one that older nodes know, \
                        with a version of its own (docs/upgrade.md).";

/// Asserts that what is encoded now is what the file holds, by name; `advice` says what is to be done where a shape has to be
/// another one.
pub fn assert_recorded(path: &Path, now: &BTreeMap<String, Vec<u8>>, advice: &str) {
    record_if_asked(path, now);
    let mut known = recorded(path);
    for (name, now) in now {
        let before = known.remove(name).unwrap_or_else(|| {
            panic!("{name} is new: add this line to {}:\n{name}: {}", path.display(), hexadecimal(now));
        });
        assert!(
            *now == before,
            "{name} has another shape than in {}, which stays as it is: {advice}\nbefore {}\nnow    {}",
            path.display(),
            hexadecimal(&before),
            hexadecimal(now),
        );
    }
    assert!(known.is_empty(), "nobody writes any more: {:?}", known.keys());
}

/// What a file holds, by name.
pub fn recorded(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| {
        panic!("{}: {e}; TAFFETA_RECORD_FORMAT=1 records what is written now", path.display());
    });
    let line = |line: &str| line.split_once(": ").map(|(name, hex)| (name.to_owned(), bytes(hex)));
    text.lines().map(|text| line(text).unwrap_or_else(|| panic!("{}: `{text}`", path.display()))).collect()
}

/// Writes the file, if it is not there and somebody asks for it.
pub fn record_if_asked(path: &Path, now: &BTreeMap<String, Vec<u8>>) {
    if std::env::var_os("TAFFETA_RECORD_FORMAT").is_none() || path.exists() {
        return;
    }
    let lines: String = now.iter().map(|(name, bytes)| format!("{name}: {}\n", hexadecimal(bytes))).collect();
    // Tests beside this one may do the same: under its name there is the whole file or none.
    let draft = path.with_extension(format!("{:?}.part", std::thread::current().id()));
    fs::write(&draft, lines).unwrap_or_else(|e| panic!("{}: {e}", draft.display()));
    fs::rename(&draft, path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Asserts that these are values of every variant of an enum. An encoding begins with the variant's number: they follow one
/// another, and the next one is none.
pub fn assert_every_variant<'a, T: Deserialize<'static>>(encoded: impl IntoIterator<Item = &'a Vec<u8>>) {
    let number = |bytes: &Vec<u8>| postcard::take_from_bytes::<u32>(bytes).expect("it begins with a number").0;
    let mut numbers: Vec<u32> = encoded.into_iter().map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let count = u32::try_from(numbers.len()).expect("few");
    assert!(numbers.iter().copied().eq(0..count), "some variant is left out: {numbers:?}");
    let next = postcard::to_stdvec(&count).expect("a number can be encoded").leak(); // some messages borrow from it
    let is_none = matches!(postcard::from_bytes::<T>(next), Err(postcard::Error::SerdeDeCustom));
    assert!(is_none, "the variant {count} is left out");
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("two hexadecimal digits");
    (0..hexadecimal.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize, Deserialize)]
    enum Two {
        One(u8),
        Other,
    }

    #[test]
    fn a_variant_that_is_left_out_is_noticed() {
        let [one, other] = [Two::One(7), Two::Other].map(|two| postcard::to_stdvec(&two).unwrap());
        assert_every_variant::<Two>([&one, &other, &one]);
        for some in [vec![&one], vec![&other]] {
            assert!(std::panic::catch_unwind(|| assert_every_variant::<Two>(some)).is_err());
        }
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&hexadecimal(&all)), all);
    }
}
