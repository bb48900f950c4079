//! Any bytes as a chunk of a snapshot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taffeta_catalogue::decode_chunk;

fuzz_target!(|bytes: &[u8]| {
    for set in decode_chunk(bytes).unwrap_or_default() {
        drop(set.head());
    }
});
