//! Any bytes as a sealed datagram's header, and as the frames of a streamed reply, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taffeta_net::{FrameDecoder, SealedHeader};

fuzz_target!(|bytes: &[u8]| {
    let _header = SealedHeader::read(bytes);
    let mut decoder = FrameDecoder::default();
    for piece in bytes.chunks(usize::from(bytes.first().copied().unwrap_or(1)).max(1)) {
        decoder.extend(piece);
        while let Ok(Some(_)) = decoder.take() {}
    }
});
