//! Large replies, packed with LZ4: a whole directory or assigned set repeats the same names over and over. Spoken from version
//! 2 of the protocol on.
//!
//! A packed reply is its length when unpacked, four bytes little-endian, and an LZ4 block.

use crate::MESSAGE_BYTES_MAX;

/// The first version that has it.
const SINCE: u32 = 2;
/// Smaller ones fit a few packets as they are.
const BYTES_MIN: usize = 4 << 10;

/// The reply packed; `None` if it is to go as it is: it is small, does not shrink, or the peer is of an older version.
pub(crate) fn pack(version: u32, reply: &[u8]) -> Option<Vec<u8>> {
    if version < SINCE || reply.len() < BYTES_MIN {
        return None;
    }
    let packed = lz4_flex::block::compress_prepend_size(reply);
    (packed.len() < reply.len()).then_some(packed)
}

/// The reverse; `None` if it is damaged, or would be larger than any reply may be.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = packed.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > MESSAGE_BYTES_MAX {
        return None;
    }
    lz4_flex::block::decompress(block, length).ok().filter(|reply| reply.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_reply_shrinks_and_comes_back_whole() {
        let reply = b"web.shop ".repeat(10_000);
        let packed = pack(2, &reply).unwrap();
        assert!(packed.len() < reply.len() / 20);
        assert_eq!(unpack(&packed).unwrap(), reply);
        assert_eq!(pack(1, &reply), None, "version 1 does not know it");
        assert_eq!(pack(2, &reply[..100]), None, "it is small");
    }

    #[test]
    fn what_is_damaged_or_too_large_does_not_unpack() {
        let mut packed = pack(2, &[7; 10_000]).unwrap();
        assert_eq!(unpack(&packed[..3]), None);
        assert_eq!(unpack(&packed[..packed.len() - 1]), None);
        packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unpack(&packed), None);
    }
}
