from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnode.lab.echo import (
    Answer,
    EchoError,
    Frames,
    Request,
    pack_answer,
    pack_request,
    unpack_answer,
    unpack_request,
)

NUMBERS = st.integers(0, 2**32 - 1)


@given(st.builds(Request, NUMBERS, NUMBERS, st.binary(max_size=300)))
def test_a_request_survives_the_wire(request: Request) -> None:
    (body,) = Frames().feed(pack_request(request))

    assert unpack_request(body) == request


@given(st.builds(Answer, NUMBERS, NUMBERS, st.sampled_from(["", "b1", "ü"]), st.binary(max_size=300)))
def test_an_answer_survives_the_wire(answer: Answer) -> None:
    (body,) = Frames().feed(pack_answer(answer))

    assert unpack_answer(body) == answer


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(1, 30))
def test_frames_are_found_however_the_stream_is_cut(payloads: list[bytes], cut: int) -> None:
    stream = b"".join(pack_request(Request(1, n, payload)) for n, payload in enumerate(payloads))
    frames = Frames()

    bodies = [body for at in range(0, len(stream), cut) for body in frames.feed(stream[at : at + cut])]

    assert [unpack_request(body).payload for body in bodies] == payloads


@pytest.mark.parametrize("length", [0, 7, 1 << 21, 0xFFFFFFFF])
def test_a_length_that_no_frame_has_is_an_error(length: int) -> None:
    with pytest.raises(EchoError, match="must be 8 to"):
        Frames().feed(length.to_bytes(4, "big"))


@pytest.mark.parametrize("body", [b"\0" * 8, b"\0" * 8 + b"\x05b1"])
def test_an_answer_without_room_for_the_name_is_an_error(body: bytes) -> None:
    with pytest.raises(EchoError, match="no room"):
        unpack_answer(body)
