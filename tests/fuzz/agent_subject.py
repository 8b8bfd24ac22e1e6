"""The backend under trial: a world in a real data plane, its sockets in the kernel, and the same world as a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lbnode.dataplane.backend import DECAP_OBJECT, BackendDataPlane, unload
from lbnode.dataplane.backend_layout import MemberKind
from lbnode.dataplane.backend_model import BackendModel
from lbnode.dataplane.libbpf import Program
from lbnode.dataplane.pins import BACKEND
from lbnode.dataplane.values import PoolTable
from lbnode.model.ids import BackendId, PoolName
from tests.bpf import decap_world
from tests.fuzz.corruption import corrupt
from tests.fuzz.kernel import HEADROOM
from tests.fuzz.sockets import LiveSockets, Wire, live
from tests.fuzz.translation import backend_entry, present, table_of, vip_entry
from tests.fuzz.trial import Expected, Tally
from tests.fuzz.worlds import LOOPBACK, AgentWorld, Packet, Pool, PoolState

OBJECT_NAME = DECAP_OBJECT.name
PLACES = 1 << 14
NUMBER_SIZE = 4


def model_of(world: AgentWorld) -> BackendModel:
    """Return the model of a backend that knows this world."""
    kinds = {True: MemberKind.BACKEND, False: MemberKind.NODE}
    return BackendModel(
        world.own,
        BackendId(world.self_id),
        {each.address: kinds[each.is_backend] for each in world.members},
        {PoolName(pool.name): known(pool) for pool in world.pools if pool.state is not PoolState.UNREADY},
        {BackendId(each.id): backend_entry(each) for each in world.backends},
        [vip_entry(each) for each in world.vips],
        frozenset(vip_entry(each) for each in world.vips if each.heard),
        {PoolName(pool.name): pool.intake for pool in world.pools},
        world.second_chance,
        LOOPBACK,
    )


def known(pool: Pool) -> PoolTable:
    """Return what a pool's table tells: in a corrupt one every bucket is empty."""
    if pool.state is PoolState.READY:
        return present(pool)
    return replace(table_of(pool, ((0, 0, 0),), pool.epoch), quic=None)


def fill(plane: BackendDataPlane, world: AgentWorld) -> None:
    """Write the world into the kernel, as the agent does, but for what is corrupt about it."""
    model = model_of(
        replace(world, pools=tuple(replace(pool, state=PoolState.READY) for pool in world.pools))
    )
    decap_world.fill(plane, model)


@dataclass(slots=True)
class AgentSubject:
    """A backend's program on maps that hold a world."""

    plane: BackendDataPlane
    model: BackendModel
    sockets: LiveSockets

    @property
    def program(self) -> Program:
        return self.plane.program

    def frame(self, packet: Packet) -> bytes:
        if not packet.numbers:
            return packet.data
        data = bytearray(packet.data)
        for number in packet.numbers:
            if number.at + NUMBER_SIZE <= len(data):
                data[number.at : number.at + NUMBER_SIZE] = self.sockets.number(number).to_bytes(4, "big")
        return bytes(data)

    def advance(self) -> None:
        """Nothing: a backend remembers no packet."""

    def expect(self, frame: bytes, metadata: int) -> Expected:
        result = self.model.process(frame, self.sockets.judge, HEADROOM - metadata)
        counts = [
            (("outcome", result.outcome), len(frame)),
            *((("outcome", name), 0) for name in result.seen),
        ]
        return Expected(result.outcome, result.verdict, result.frame, tuple(counts), result.ifindex)

    def counted(self) -> Tally:
        tally = Tally()
        for name, count in self.plane.counters().items():
            tally.packets["outcome", name], tally.bytes["outcome", name] = count
        return tally


@contextmanager
def open_agent(
    world: AgentWorld, directory: Path, wire: Wire, objects: Path = DECAP_OBJECT.parent
) -> Iterator[AgentSubject]:
    """Load the program on fresh maps in `directory` (on bpffs), write the world into them, open its sockets."""
    model = model_of(world)
    path = objects / OBJECT_NAME
    try:
        with (
            live(world, wire) as sockets,
            closing(BackendDataPlane.open(directory, world.own, world.second_chance, PLACES, path)) as plane,
        ):
            fill(plane, world)
            if any(pool.state is not PoolState.READY for pool in world.pools):
                (pins,) = directory.glob(f"{BACKEND}-*")
                corrupt(pins, path, world.pools)
            yield AgentSubject(plane, model, sockets)
    finally:
        unload(directory)
