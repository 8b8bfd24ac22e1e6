from __future__ import annotations

from lbnode.lab.echo import Answer, Request
from lbnode.lab.history import Break, FlowHistory, FlowWindow

LIMIT_S = 1.0


def exchange(
    history: FlowHistory, number: int, asked_at: float, answered_at: float, server: str = "b1"
) -> None:
    history.ask(Request(1, number, b"x%d" % number), asked_at)
    history.answer(Answer(1, number, server, b"x%d" % number), answered_at)


def test_a_flow_that_is_always_answered_is_whole() -> None:
    history = FlowHistory()
    exchange(history, 0, 10.0, 10.1)
    exchange(history, 1, 10.2, 10.5)

    window = history.close_window(11.0, LIMIT_S)

    assert window.broke is None
    assert round(window.longest_stall_s, 3) == 0.3
    assert history.exchanges == 2
    assert history.answered_since == 10.2


def test_an_answer_from_another_server_breaks_a_flow() -> None:
    history = FlowHistory()
    exchange(history, 0, 0.0, 0.1, server="b1")
    exchange(history, 1, 0.2, 0.3, server="b2")

    assert history.close_window(1.0, LIMIT_S).broke is Break.OTHER_SERVER
    assert history.exchanges == 1


def test_one_wrong_byte_breaks_a_flow() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)
    history.answer(Answer(1, 0, "b1", b"abd"), 0.1)

    assert history.broken is Break.WRONG_BYTES


def test_the_answer_to_another_flow_breaks_a_flow() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)
    history.answer(Answer(2, 0, "b1", b"abc"), 0.1)

    assert history.broken is Break.WRONG_BYTES


def test_an_answer_that_nobody_asked_for_breaks_a_flow() -> None:
    history = FlowHistory()
    history.answer(Answer(1, 0, "b1", b""), 0.1)

    assert history.broken is Break.WRONG_BYTES


def test_a_connection_that_ends_breaks_its_flow() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)
    history.lose(0.4)

    assert history.close_window(1.0, LIMIT_S) == FlowWindow(0.4, Break.RESET)


def test_a_stall_at_the_limit_is_whole_and_one_above_is_broken() -> None:
    at, above = FlowHistory(), FlowHistory()
    exchange(at, 0, 5.0, 6.0)
    exchange(above, 0, 5.0, 6.001)

    assert at.close_window(7.0, LIMIT_S).broke is None
    assert above.close_window(7.0, LIMIT_S).broke is Break.STALL


def test_a_question_without_answer_counts_while_it_waits() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)

    assert history.close_window(3.0, LIMIT_S) == FlowWindow(3.0, Break.STALL)


def test_a_wait_counts_in_every_window_that_it_reaches_into() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)

    first = history.close_window(0.6, LIMIT_S)
    history.answer(Answer(1, 0, "b1", b"abc"), 1.2)
    second = history.close_window(2.0, LIMIT_S)

    assert first == FlowWindow(0.6, None)
    assert second == FlowWindow(1.2, Break.STALL)


def test_a_flow_breaks_once_and_is_not_looked_at_again() -> None:
    history = FlowHistory()
    history.ask(Request(1, 0, b"abc"), 0.0)
    history.close_window(3.0, LIMIT_S)

    history.lose(9.0)

    assert history.close_window(10.0, LIMIT_S) == FlowWindow(0.0, None)
    assert history.broken is Break.STALL
    assert history.wait_s(20.0) == 0.0
