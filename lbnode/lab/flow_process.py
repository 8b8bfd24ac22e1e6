"""The flow engine seen from the drill: a process in a client's namespace that obeys commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lbnode.lab.flows import Look, Window
from lbnode.lab.obedient import ObedientProcess
from lbnode.lab.shell import inside


class FlowProcess(ObedientProcess):
    """Use as a context manager: the flows end with it. Raises LabError when the engine fails."""

    def __init__(self, namespace: str) -> None:
        super().__init__("flow engine", inside(namespace, [sys.executable, "-m", "lbnode.lab.flows"]))

    def open(self, source: str, ports: Sequence[int], target: tuple[str, int], rate: float) -> int:
        """Open one flow from each port; return how many there are."""
        address, port = target
        opened = self.command("open", source=source, ports=list(ports), target=address, port=port, rate=rate)
        return int(opened["flows"])

    def look(self, since: float = 0.0) -> Look:
        """Return how the flows are now; `since` is a time of this machine's monotonic clock."""
        return Look(**self.command("look", since=since))

    def close_window(self, limit_s: float) -> Window:
        """End the present window, in which stalls of up to `limit_s` were allowed, and begin the next."""
        return Window(**self.command("window", limit_s=limit_s))
