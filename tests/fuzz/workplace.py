"""Where trials happen: one process, enclosed, with everything at hand that a world needs to become real."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lbnode.dataplane.node import OBJECT
from tests.fuzz import enclosure
from tests.fuzz.agent_subject import open_agent
from tests.fuzz.kernel import Redirects
from tests.fuzz.node_subject import open_node
from tests.fuzz.sockets import DEVICE, Wire, wire
from tests.fuzz.trial import Divergence, Subject, play
from tests.fuzz.worlds import NodeWorld, Packet, World


@dataclass(frozen=True, slots=True)
class Workplace:
    """`objects`: the folder of the programs under trial."""

    directory: Path
    wire: Wire
    redirects: Redirects
    objects: Path = OBJECT.parent

    def open(self, world: World) -> AbstractContextManager[Subject]:
        """Make `world` real: a program just loaded, on maps that hold it."""
        if isinstance(world, NodeWorld):
            return open_node(world, self.directory, self.objects)
        return open_agent(world, self.directory, self.wire, self.objects)

    def trial(
        self, world: World, packets: Sequence[Packet], hits: Counter[str] | None = None
    ) -> Divergence | None:
        """Send `packets` through a fresh `world`; return the first difference, counting outcomes in `hits`."""
        with self.open(world) as subject:
            return play(subject, packets, Counter() if hits is None else hits, self.redirects)

    def locate(self, world: World, packets: Sequence[Packet], found: Divergence) -> Divergence:
        """Return the divergence at the packet that first made the counters differ: by halves, worlds anew."""
        if found.what != "counters":
            return found
        right, wrong = 0, len(packets)
        while wrong - right > 1:
            middle = (right + wrong) // 2
            earlier = self.trial(world, packets[:middle])
            right, wrong = (middle, wrong) if earlier is None else (right, middle)
            found = earlier or found
        return found

    def at(self, objects: Path) -> Workplace:
        """Return this place with other programs."""
        return replace(self, objects=objects)


@contextmanager
def enclosed(directory: Path) -> Iterator[Workplace]:
    """Enclose this process for good; `directory` is an empty one to mount a bpffs at."""
    own = directory / str(os.getpid())
    enclosure.enter(own)
    with wire() as device, Redirects() as redirects:
        enclosure.give_addresses(DEVICE.decode())
        yield Workplace(own, device, redirects)
