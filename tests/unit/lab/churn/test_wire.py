"""The churn drill's requests, and the bytes that are known beforehand."""

from __future__ import annotations

import pytest

from lbnode.lab.churn.wire import MAX_ANSWER, Sending, Verb, ask, content, read_verb
from lbnode.lab.echo import EchoError


@pytest.mark.parametrize("verb", list(Verb))
def test_a_request_is_read_as_it_was_asked(verb: Verb) -> None:
    assert read_verb(ask(verb, b"bytes")) == (verb, b"bytes")


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x09bytes"])
def test_a_request_without_a_verb_is_refused(payload: bytes) -> None:
    with pytest.raises(EchoError, match="no verb"):
        read_verb(payload)


def test_a_download_is_read_as_it_was_asked_for() -> None:
    sending = Sending(120, 8000, 0.5)

    assert Sending.unpack(sending.pack()) == sending


@pytest.mark.parametrize("data", [b"short", Sending(1, MAX_ANSWER + 1, 1.0).pack()])
def test_a_download_that_nobody_can_send_is_refused(data: bytes) -> None:
    with pytest.raises(EchoError, match="SEND"):
        Sending.unpack(data)


def test_answers_have_the_asked_size_and_differ_from_their_neighbours() -> None:
    answers = [content(flow, number, 8000) for flow in range(5) for number in range(5)]

    assert {len(answer) for answer in answers} == {8000}
    assert len(set(answers)) == len(answers)
