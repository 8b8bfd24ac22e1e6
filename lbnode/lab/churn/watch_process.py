"""The watch seen from the drill."""

from __future__ import annotations

import sys
from pathlib import Path

from lbnode.lab.churn.sightings import Sightings
from lbnode.lab.churn.watch import Look
from lbnode.lab.obedient import ObedientProcess


class WatchProcess(ObedientProcess):
    """Use as a context manager: the watch ends with it. Raises LabError when it fails."""

    def __init__(self, lab: str, pool: str) -> None:
        super().__init__("watch", [sys.executable, "-m", "lbnode.lab.churn.watch", lab, pool])

    def look(self) -> Look:
        """Return what the kernels hold now."""
        return Look(**self.command("look"))

    def epochs(self) -> dict[str, int]:
        """Return the epoch that each node's kernel uses now, without a look at the backends."""
        return self.command("epochs")

    def save(self, path: Path) -> Sightings:
        """Return everything seen so far; it stays in `path` for whoever wants to look closer."""
        self.command("save", path=str(path))
        return Sightings.load(path)
