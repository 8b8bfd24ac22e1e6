"""The crowd seen from the drill: a process in a client's namespace that obeys commands."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Any

from lbnode.lab.churn.crowd import Look, Order
from lbnode.lab.churn.flow import Ended, Outcome
from lbnode.lab.churn.life import FlowKind
from lbnode.lab.obedient import ObedientProcess
from lbnode.lab.shell import inside


class CrowdProcess(ObedientProcess):
    """Use as a context manager: the flows end with it. Raises LabError when the crowd fails."""

    def __init__(self, namespace: str) -> None:
        super().__init__("crowd", inside(namespace, [sys.executable, "-m", "lbnode.lab.churn.crowd"]))
        self._ended: list[Ended] = []

    def begin(self, order: Order) -> None:
        """Open the first flows, and from now on one for each that ends."""
        self.command("begin", **asdict(order))

    def look(self) -> Look:
        """Return how the flows are now."""
        return Look(**self.command("look"))

    def named(self, server: str) -> frozenset[int]:
        """Return the numbers of the living flows that `server` answers."""
        return frozenset(self.command("named", server=server)["flows"])

    def finish(self) -> None:
        """Open no more flows, and let those that are alive have their last exchange."""
        self.command("finish")

    def ended(self) -> list[Ended]:
        """Return what became of all flows that have ended so far."""
        fresh = self.command("ended", after=len(self._ended))["ended"]
        self._ended += [_read(row) for row in fresh]
        return self._ended


def _read(row: list[Any]) -> Ended:
    ended = Ended(*row)
    return replace(ended, kind=FlowKind(ended.kind), outcome=Outcome(ended.outcome))
