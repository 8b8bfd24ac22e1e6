"""A process that reads the maps pinned in the lab's kernels, and asks no daemon: `python -m lbnode.lab.churn.watch
LAB POOL`.

It sees which epoch carries traffic on each node, to a few milliseconds; keeps the table of every epoch; and
samples twice a second through which node the packets of each bucket go, and what the backends' programs did.
Nothing is written to any map. Commands are lines of JSON on its standard input, each answered by one line:

    {"do": "look"}                  →  the fields of Look
    {"do": "epochs"}                →  node: the epoch that its kernel uses
    {"do": "save", "path": P}       →  {}        everything seen so far, as a NumPy archive (`sightings`)
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.layout import MAPS, Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.pins import Pins
from lbnode.lab import configs, record
from lbnode.lab.churn.sightings import OTHER_TABLE, Activity, Sightings, Switch, Table
from lbnode.lab.errors import LabError

LOOK_S = 0.005
SAMPLE_S = 0.5
FIND_S = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """Node → the epoch that its kernel uses now; backend → outcome → packets since the program's maps were made."""

    epochs: dict[str, int]
    backends: dict[str, dict[str, int]]


class NodeKernel:
    """The maps of one node, of one making: a node that was unloaded makes new ones."""

    def __init__(self, node: str, pins: Path, pool: str) -> None:
        maps = Pins(pins).maps(MAPS)
        self.node = node
        self.making = _making(pins)
        self._memory = NodeMemory(maps, _layout())
        for opened in maps.values():
            opened.close()
        self._pool = pool.encode()
        self._seen = -1
        self._counted: NDArray[np.uint64] | None = None

    def switched(self) -> int | None:
        """Return the number of the epoch that carries traffic if that has changed since the last call."""
        number = self._number()
        word = 0 if number is None else int(self._memory.current[number])
        if word == self._seen:
            return None
        self._seen = word
        return self._epoch(number, word >> 32) if number is not None and word >> 32 else 0

    @property
    def epoch(self) -> int:
        """The number of the epoch that carries traffic, as of the last `switched`; 0: none."""
        number = self._number()
        return 0 if number is None or self._seen <= 0 else self._epoch(number, self._seen >> 32)

    def table(self) -> Table:
        """Return the table that carries traffic: owner, first and second alternate, shape (size, 3)."""
        number = self._number()
        assert number is not None
        base, size = self._seen >> 32, int(self._memory.pools[number]["size"])
        places = self._memory.tables[base : base + size].copy()
        return places.view("<u2").reshape(-1, 4)[:, :3]

    def grown(self) -> NDArray[np.uint64] | None:
        """Return the packets counted in each bucket since the last call; None the first time."""
        number = self._number()
        if number is None:
            return None
        pool = self._memory.pools[number]
        start = int(pool["bucket_counts"])
        now = self._memory.bucket_counts[start : start + int(pool["size"])].copy()
        before, self._counted = self._counted, now
        return None if before is None or len(before) != len(now) else now - before

    def _number(self) -> int | None:
        numbers = np.flatnonzero(self._memory.pool_records["name"] == self._pool)
        return int(numbers[0]) if len(numbers) else None

    def _epoch(self, number: int, base: int) -> int:
        """The whole number of the table at `base`; the word that carries traffic has only its low half."""
        for half in self._memory.pool_records["table"][number]:
            if half["epoch"] and int(half["base"]) == base:
                return int(half["epoch"])
        return 0


class Watch:
    """All that is seen of a lab's kernels."""

    def __init__(self, lab: str, pool: str) -> None:
        self._lab = lab
        self._pool = pool
        self._kernels: dict[str, NodeKernel] = {}
        self._bits: dict[str, int] = {}
        self._switches: list[Switch] = []
        self._tables: dict[int, Table] = {}
        self._samples: list[Activity] = []
        self._packets: dict[str, int] = {}
        self._backends: dict[str, dict[str, int]] = {}

    def find(self) -> None:
        """Take in nodes that are new, or have made their maps anew."""
        for node, pins in self._hosts("n"):
            known = self._kernels.get(node)
            making = _making(pins)
            if making < 0 or (known is not None and known.making == making):
                continue
            try:
                self._kernels[node] = NodeKernel(node, pins, self._pool)
            except DataPlaneError:
                self._kernels.pop(node, None)
            self._bits.setdefault(node, len(self._bits))

    def look_at_epochs(self) -> None:
        """Note which node has switched to which epoch, and the table of an epoch that is new."""
        for kernel in self._kernels.values():
            epoch = kernel.switched()
            if epoch is None:
                continue
            at = time.monotonic()
            number = self._keep(epoch, kernel.table()) if epoch else 0
            self._switches.append(Switch(at, kernel.node, number))

    def _keep(self, epoch: int, table: Table) -> int:
        """Keep the table if it is new; return the number under which it is kept."""
        number = epoch
        while not np.array_equal(self._tables.setdefault(number, table), table):
            number += OTHER_TABLE
        return number

    def sample(self) -> None:
        """Note which buckets had packets, and through which nodes."""
        now, masks = time.monotonic(), None
        for kernel in self._kernels.values():
            grown = kernel.grown()
            if grown is None:
                continue
            self._packets[kernel.node] = self._packets.get(kernel.node, 0) + int(grown.sum())
            mask = (grown > 0).astype(np.uint32) << np.uint32(self._bits[kernel.node])
            masks = mask if masks is None else masks | mask
        if masks is not None:
            buckets = np.flatnonzero(masks)
            self._samples.append(Activity(now, buckets.astype(np.uint32), masks[buckets]))

    def look_at_backends(self) -> None:
        """Read what the backends' programs have counted."""
        for backend, pins in self._hosts("b"):
            try:
                snapshot = BackendDataPlane.read(pins)
            except DataPlaneError:
                continue
            if snapshot is not None:
                self._backends[backend] = {
                    name: counter.packets for name, counter in snapshot.counters.items()
                }

    def epochs(self) -> dict[str, int]:
        """Return the epoch that each node's kernel uses now."""
        self.look_at_epochs()
        return {node: kernel.epoch for node, kernel in self._kernels.items()}

    def look(self) -> Look:
        """Return what the kernels hold now."""
        epochs = self.epochs()
        self.look_at_backends()
        return Look(epochs, self._backends)

    def save(self, path: Path) -> None:
        """Write down all that was seen."""
        self.sample()
        Sightings(
            nodes=tuple(self._bits),
            switches=tuple(self._switches),
            tables=self._tables,
            samples=tuple(self._samples),
            packets=self._packets,
        ).save(path)

    def _hosts(self, prefix: str) -> Iterator[tuple[str, Path]]:
        """Name and pin directory of each host whose name is `prefix` and a number."""
        for directory in sorted(record.directory(self._lab).iterdir()):
            if directory.name.startswith(prefix) and directory.name.removeprefix(prefix).isdigit():
                yield directory.name, configs.run_dir(directory) / "bpf"


def _making(pins: Path) -> int:
    """What tells maps from those made later under the same names."""
    try:
        return os.stat(pins / "node" / MAPS[0]).st_ino
    except OSError:
        return -1


@cache
def _layout() -> Layout:
    """The structures in the maps, from the object that made them."""
    with BpfObject.open(OBJECT) as node:
        return Layout.of(node.btf)


def _obey(watch: Watch, command: dict[str, Any]) -> dict[str, Any]:
    match command["do"]:
        case "look":
            return asdict(watch.look())
        case "epochs":
            return watch.epochs()
        case "save":
            watch.save(Path(command["path"]))
            return {}
        case other:
            raise LabError(f"no command {other!r}")


def _serve(watch: Watch) -> None:
    """Look again and again, and obey lines from standard input until it ends."""
    duties = {watch.find: FIND_S, watch.sample: SAMPLE_S}
    due = dict.fromkeys(duties, 0.0)
    while True:
        now = time.monotonic()
        for duty, period_s in duties.items():
            if now >= due[duty]:
                duty()
                due[duty] = now + period_s
        watch.look_at_epochs()
        if select.select([sys.stdin], [], [], LOOK_S)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            try:
                answer = _obey(watch, json.loads(line))
            except LabError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)


def main() -> None:
    """Watch the lab and the pool that the arguments name."""
    lab, pool = sys.argv[1:]
    _serve(Watch(lab, pool))


if __name__ == "__main__":
    main()
