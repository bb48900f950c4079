use super::*;
use proptest::prelude::*;

fn encode(frame: &Frame) -> Vec<u8> {
    match frame {
        Frame::Data(bytes) => [&data_head(bytes.len()).unwrap()[..], bytes].concat(),
        Frame::End => last(Ok(())),
        Frame::Refused(why) => last(Err(why.clone())),
    }
}

/// Reads all frames of a stream that comes in pieces of this size.
fn decode(stream: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut decoder, mut frames) = (FrameDecoder::default(), vec![]);
    for piece in stream.chunks(piece) {
        decoder.extend(piece);
        loop {
            match decoder.take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Frame::Data(bytes.into())),
        1 => Just(Frame::End),
        1 => ".{0,40}".prop_map(Frame::Refused),
    ]
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        frames in prop::collection::vec(frame(), 0..12), piece in 1_usize..700,
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(encode).collect();
        prop_assert_eq!(decode(&stream, piece), (frames, Ok(())));
    }

    #[test]
    fn a_truncated_stream_gives_its_whole_frames_and_no_more(
        frames in prop::collection::vec(frame(), 1..6), cut in any::<prop::sample::Index>(),
    ) {
        let encoded: Vec<Vec<u8>> = frames.iter().map(encode).collect();
        let stream = encoded.concat();
        let cut = cut.index(stream.len());
        let mut end = 0;
        let whole = encoded.iter().take_while(|frame| { end += frame.len(); end <= cut }).count();
        prop_assert_eq!(decode(&stream[..cut], 64), (frames[..whole].to_vec(), Ok(())));
    }

    #[test]
    fn a_frame_over_its_limit_is_refused_before_it_has_come(kind in 0_u8..=2, over in 1_usize..1_000) {
        let limit = [FRAME_BYTES_MAX, 0, REASON_BYTES_MAX][usize::from(kind)];
        let refused = Err(FrameError::Oversized(limit + over));
        prop_assert_eq!(decode(&head(kind, limit + over), 4), (vec![], refused));
    }

    #[test]
    fn garbage_gives_frames_or_an_error_and_holds_nothing_over_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000), piece in 1_usize..300,
    ) {
        let (frames, _) = decode(&bytes, piece);
        prop_assert!(frames.iter().map(|frame| encode(frame).len()).all(|length| length <= FRAME_BYTES_MAX + HEAD_BYTES));
    }

    #[test]
    fn an_unknown_kind_is_refused(kind in 3_u8.., rest: [u8; 3]) {
        let bytes = [kind, rest[0], rest[1], rest[2]];
        prop_assert_eq!(decode(&bytes, 1), (vec![], Err(FrameError::UnknownKind(kind))));
    }

    #[test]
    fn a_message_is_parted_after_its_lane(byte: u8, rest in prop::collection::vec(any::<u8>(), 0..20)) {
        let message = Bytes::from([&[byte][..], &rest].concat());
        let parted = split_lane(message);
        prop_assert_eq!(parted.as_ref().map(|(lane, _)| lane.byte()), Lane::from_byte(byte).map(Lane::byte));
        prop_assert!(parted.is_none_or(|(_, body)| body == rest));
    }
}

#[test]
fn the_largest_frame_passes_and_a_larger_one_is_not_made() {
    let largest = Frame::Data(vec![7; FRAME_BYTES_MAX].into());
    assert_eq!(decode(&encode(&largest), 5_000), (vec![largest], Ok(())));
    assert_eq!(data_head(FRAME_BYTES_MAX + 1), None);
}

#[test]
fn a_message_without_a_lane_is_none() {
    assert_eq!(split_lane(Bytes::new()), None);
}

#[test]
fn a_long_reason_is_cut_between_letters() {
    let reason = "é".repeat(REASON_BYTES_MAX);
    let (frames, _) = decode(&last(Err(reason.clone())), 100);
    assert_eq!(frames, [Frame::Refused(reason[..REASON_BYTES_MAX].into())]);
    let (frames, _) = decode(&last(Err(format!("x{reason}"))), 100);
    assert_eq!(frames, [Frame::Refused(format!("x{reason}")[..REASON_BYTES_MAX - 1].into())]);
}
