use super::*;
use proptest::prelude::*;

const PLACE: Place = Place { node: 5, segment: 2 };

fn framed(body: &[u8], offset: usize) -> Vec<u8> {
    let mut frame = begin();
    frame.extend_from_slice(body);
    finish(frame, PLACE, offset as u64).unwrap()
}

/// A file with a whole frame at 32, another behind it, and room ahead. Gives where the other begins and ends.
fn file(first: &[u8], last: &[u8]) -> (Vec<u8>, usize, usize) {
    let mut file = vec![9; 32];
    file.extend(framed(first, 32));
    let begin = file.len();
    file.extend(framed(last, begin));
    let end = file.len();
    file.resize(end.next_multiple_of(4096) + 4096, 0);
    (file, begin, end)
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * n % 251).unwrap()).collect()
}

#[test]
fn a_frame_comes_back_as_it_was() {
    for length in [0, 1, 15, 16, 17, 495, 496, 497, 5_000] {
        let (file, begin, end) = file(&body(length), &body(3));
        assert_eq!(next(&file, 32, PLACE), Next::Frame(body(length), begin));
        assert_eq!(next(&file, begin, PLACE), Next::Frame(body(3), end));
        assert_eq!(next(&file, end, PLACE), Next::End);
        assert_eq!(next(&file[..end], end, PLACE), Next::End);
    }
}

#[test]
fn no_sector_of_a_frame_is_zero_by_itself() {
    let frame = framed(&[0; 100_000], 64);
    assert!(frame.chunks(HEADER).all(|part| !is_zero(part)));
}

#[test]
fn a_frame_counts_only_where_it_was_written() {
    let frame = framed(b"here", 64);
    let at = |offset: usize, place| {
        let mut file = vec![0; offset];
        file.extend(&frame);
        matches!(next(&file, offset, place), Next::Frame(..))
    };
    assert!(at(64, PLACE));
    assert!(!at(80, PLACE));
    assert!(!at(64, Place { segment: 3, ..PLACE }));
    assert!(!at(64, Place { node: 6, ..PLACE }));
}

/// The bytes between, as far as they lie in sectors that were not written.
fn lose(file: &mut [u8], begin: usize, end: usize, lost: impl Fn(usize) -> bool) -> bool {
    let mut any = false;
    for at in (begin..end).filter(|at| lost(at / SECTOR)) {
        file[at] = 0;
        any = true;
    }
    any
}

proptest! {
    #[test]
    fn whatever_sectors_a_power_cut_loses_the_frame_is_torn_or_whole(
        (first, last) in (0..2_000usize, 0..9_000usize),
        lost in prop::collection::vec(any::<bool>(), 64),
        cut in prop::option::of(0..24usize),
    ) {
        let (mut file, begin, end) = file(&body(first), &body(last));
        let mut any = lose(&mut file, begin, end, |sector| lost[sector % 64]);
        if let Some(sectors) = cut {
            let length = (begin.next_multiple_of(SECTOR) + sectors * SECTOR).min(file.len());
            file.truncate(length);
            any |= length < end;
        }
        let found = next(&file, begin, PLACE);
        let nothing = is_zero(&file[begin.min(file.len())..]);
        let expected = match (any, nothing) {
            (false, _) => Next::Frame(body(last), end),
            (true, true) => Next::End,
            (true, false) => Next::Torn,
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(next(&file, 32, PLACE), Next::Frame(body(first), begin));
    }

    #[test]
    fn a_lost_sector_before_a_later_frame_is_damage(
        (first, last) in (0..3_000usize, 0..3_000usize),
        lost in prop::collection::vec(any::<bool>(), 64),
    ) {
        let (mut file, begin, _) = file(&body(first), &body(last));
        // What shares a sector with the later frame was on disk when that was written.
        let shared = begin / SECTOR;
        if lose(&mut file, 32, begin, |sector| sector != shared && lost[sector % 64]) {
            let found = next(&file, 32, PLACE);
            prop_assert!(matches!(found, Next::Damaged(_)), "{:?}", found);
        }
    }
}

#[test]
fn a_flipped_bit_in_the_last_frame_is_damage() {
    for length in [0, 3, 100, 480, 2_000] {
        let (file, begin, end) = file(&body(40), &body(length));
        for at in begin..end {
            for bit in 0..8 {
                let mut file = file.clone();
                file[at] ^= 1 << bit;
                let found = next(&file, begin, PLACE);
                assert!(matches!(found, Next::Damaged(_)), "byte {at} of {begin}..{end}: {found:?}");
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_within_a_sector_is_damage() {
    let (file, begin, end) = file(&body(40), &body(2_000));
    for length in begin + 1..end {
        let expected = length % SECTOR == 0;
        assert_eq!(next(&file[..length], begin, PLACE) == Next::Torn, expected, "{length} bytes");
    }
}
