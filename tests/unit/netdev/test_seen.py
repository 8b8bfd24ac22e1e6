"""The kernel is asked only when its answer may be another one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lbnode.netdev.errors import NetdevError
from lbnode.netdev.seen import Seen


class Kernel:
    """Answers with a number that grows; `on_ask` happens while it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.on_ask: Callable[[], None] = lambda: None

    async def ask(self) -> int:
        self.asked += 1
        self.on_ask()
        return self.asked


async def test_the_answer_stays_until_it_is_forgotten() -> None:
    kernel = Kernel()
    seen = Seen(kernel.ask)

    assert [await seen.get(), await seen.get()] == [1, 1]
    seen.forget()
    assert [await seen.get(), await seen.get()] == [2, 2]


async def test_an_answer_that_was_overtaken_by_a_change_is_not_kept() -> None:
    kernel = Kernel()
    seen = Seen(kernel.ask)
    kernel.on_ask = seen.forget

    assert [await seen.get(), await seen.get()] == [1, 2]


async def test_after_a_refusal_the_kernel_is_asked_again() -> None:
    kernel = Kernel()
    seen = Seen(kernel.ask)

    def refuse() -> None:
        raise NetdevError("interface eth0: gone")

    kernel.on_ask = refuse
    with pytest.raises(NetdevError):
        await seen.get()
    kernel.on_ask = lambda: None
    assert await seen.get() == 2
