"""Where a stream may be ended, in whatever pieces it comes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.frames import Events, Frames, close_frame


def frame(size: int, *, opcode: int = 2, final: bool = True, masked: bool = False) -> bytes:
    """A frame of RFC 6455, written by other code than that under test."""
    head = bytes([(0x80 if final else 0) | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 2**16:
        head += bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + size.to_bytes(8, "big")
    # A payload that looks like heads of other frames.
    return head + (b"\x01\x02\x03\x04" if masked else b"") + (b"\x88\x7f\x82\x7e" * (size // 4 + 1))[:size]


FRAMES = st.lists(
    st.builds(
        frame,
        st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, 70_000])),
        opcode=st.sampled_from([0, 1, 2, 9, 10]),
        final=st.booleans(),
        masked=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    return [whole[a:b] for a, b in itertools.pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 200_000), max_size=20))
def test_after_any_piece_the_tracker_knows_whether_it_stands_between_two_frames(
    frames: list[bytes], cuts: list[int]
) -> None:
    ends = {0}
    for one in frames:
        ends.add(max(ends) + len(one))
    tracker, at = Frames(), 0
    for piece in pieces(b"".join(frames), cuts):
        tracker.feed(piece)
        at += len(piece)

        assert tracker.is_between == (at in ends)


@given(FRAMES, st.lists(st.integers(0, 200_000), max_size=20), st.integers(0, 200_000))
def test_t24_the_place_for_the_close_frame_is_the_end_of_the_frame_under_way(
    frames: list[bytes], cuts: list[int], told: int
) -> None:
    """From piece number `told` on, the stream is to be ended."""
    whole = b"".join(frames)
    ends = [0]
    for one in frames:
        ends.append(ends[-1] + len(one))
    parts = pieces(whole, cuts)
    told %= len(parts)
    tracker, at = Frames(), 0
    for part in parts[:told]:
        tracker.feed(part)
        at += len(part)
    expected = next(end for end in ends if end >= at)

    for part in parts[told:]:
        if tracker.is_between:
            break
        boundary = tracker.feed_to_boundary(part)
        at += len(part) if boundary is None else boundary
        if boundary is not None:
            break

    assert at == expected
    assert tracker.is_between


def test_a_close_frame_of_the_service_is_noticed_and_nothing_that_only_looks_like_one() -> None:
    for payload, is_close in ((frame(60_000), False), (frame(0, opcode=9), False), (frame(2, opcode=8), True)):
        for cut in range(min(len(payload), 8)):
            tracker = Frames()
            tracker.feed(payload[:cut])
            tracker.feed(payload[cut:])

            assert tracker.closing == is_close


def test_t18_a_frame_without_end_is_no_boundary_and_takes_no_memory() -> None:
    tracker = Frames()
    tracker.feed(b"\x82\x7f" + b"\xff" * 8)
    for _ in range(100):
        tracker.feed(bytes(65_536))

    assert not tracker.is_between
    assert tracker.feed_to_boundary(bytes(65_536)) is None


def test_our_close_frame_is_unmasked_and_says_code_and_reason() -> None:
    assert close_frame(1008, "session_revoked") == b"\x88\x11\x03\xf0session_revoked"
    assert close_frame(1001, "") == b"\x88\x02\x03\xe9"


def test_a_reason_too_long_for_a_close_frame_is_a_bug() -> None:
    assert len(close_frame(1008, "x" * 123)) == 127
    with pytest.raises(ValueError, match="123"):
        close_frame(1008, "x" * 124)


EVENTS = st.lists(
    st.sampled_from([b"data: one", b"event: x\ndata: y", b":", b"data: \xff", b"id: 1\r\ndata: z"]), min_size=1
)


@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 500), max_size=12))
def test_an_event_stream_is_ended_behind_an_event_and_never_inside_one(
    events: list[bytes], line_end: bytes, cuts: list[int]
) -> None:
    ends = [0]
    whole = b""
    for event in events:
        whole += event.replace(b"\r\n", b"\n").replace(b"\n", line_end) + line_end * 2
        ends.append(len(whole))
    tracker, at = Events(), 0
    parts = pieces(whole, cuts)
    for part in parts:
        if not tracker.is_between:
            sought = Events()
            sought.feed(whole[:at])
            boundary = sought.feed_to_boundary(part)
            reached = [end for end in ends if at < end <= at + len(part)]
            if boundary is None:
                # A last CR may be half of a line's end; what comes next shows it.
                assert not reached
            else:
                assert at + boundary in ends or whole[: at + boundary].endswith((b"\n\r", b"\r\r"))
        tracker.feed(part)
        at += len(part)
        if at in ends:
            assert tracker.is_between
        elif tracker.is_between:
            assert whole[:at].endswith(b"\n\r")  # an empty line whose LF is still to come


@pytest.mark.parametrize(
    ("said", "is_between"),
    [
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"data: x", False, id="half a line"),
        pytest.param(b"data: x\n", False, id="a line"),
        pytest.param(b"data: x\r\n", False, id="a line that ends with CR LF"),
        pytest.param(b"data: x\r\n\r\n", True, id="an event"),
        pytest.param(b"data: x\n\n\n", True, id="an event and an empty line"),
        pytest.param(b"data: x\n\n:", False, id="a comment that begins"),
        pytest.param(b"data: x\n\nda", False, id="an event that begins"),
    ],
)
def test_an_event_ends_with_an_empty_line(said: bytes, is_between: bool) -> None:
    tracker = Events()
    if said:
        tracker.feed(said)

    assert tracker.is_between == is_between
