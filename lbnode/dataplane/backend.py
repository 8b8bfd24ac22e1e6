"""The backend's end of the tunnel in the kernel: decapsulation and second chance on a link's way in, the MSS clamp.

Everything is pinned in one directory on bpffs and attached by bpf_link, so it goes on when the agent stops,
crashes or is replaced. The next agent adopts the maps and puts its own program on the link. Maps of another making
(another release's, of another size) are not adopted: new ones are filled before the program changes, so no packet
meets an empty map.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lbnode.dataplane.addresses import pack_address
from lbnode.dataplane.backend_layout import Address, BackendLayout, MemberKind
from lbnode.dataplane.backend_maps import BackendMemory
from lbnode.dataplane.backend_pins import (
    LINK_PIN,
    MAPS,
    SHARED,
    holds_link,
    pinned_mode,
    pins_of,
    remove_link,
)
from lbnode.dataplane.errors import DataPlaneError, LayoutError
from lbnode.dataplane.layout import MAPS as NODE_MAPS
from lbnode.dataplane.libbpf import BpfObject, Map, Program, XdpLink, XdpMode, possible_cpus, xdp_mode
from lbnode.dataplane.making import Making
from lbnode.dataplane.memory import NodeMemory
from lbnode.dataplane.values import (
    BackendEntry,
    Count,
    PoolTable,
    PoolTables,
    VipEntry,
)
from lbnode.model.ids import BackendId, PoolName
from lbnode.model.intake import Intake
from lbnode.model.tunnel import IPVersion, version_of
from lbnode.model.vip import VipKey

OBJECTS = Path(__file__).resolve().parent.parent / "bpf" / "build"
DECAP_OBJECT = OBJECTS / "decap.bpf.o"
CLAMP_OBJECT = OBJECTS / "clamp.bpf.o"

TABLE_PLACES = 1 << 19
"""Buckets of all tables together: three pools of the default size, current and next."""

FRAGMENTS = 1 << 12
"""TCP packets in fragments whose first one is remembered."""

TUNNEL_OVERHEAD = 28
"""Outer IPv4 header and GRE with key, which always counts (design.md §4); the clamp knows what IPv6 takes more."""
IPV4_TCP = 40
IPV6_TCP = 60


class AttachMode(Enum):
    """How decapsulation may hang on the interface: AUTO takes generic XDP where native is refused."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class Attachment:
    """How decapsulation hangs on the interface; `reason` says why it is not native, where it is not."""

    mode: XdpMode
    reason: str = ""

    def __str__(self) -> str:
        name = self.mode.name.lower()
        return f"{name}: {self.reason}" if self.reason else name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the kernel holds for one backend, whether or not its agent runs.

    `digests`: of the tables in use, counted from their buckets.
    """

    self_id: BackendId | None
    sources: Mapping[Address, MemberKind]
    vips: tuple[VipEntry, ...]
    heard: frozenset[VipKey]
    intake: Mapping[PoolName, Intake]
    tables: Mapping[PoolName, PoolTables]
    digests: Mapping[PoolName, str]
    counters: Mapping[str, Count]
    xdp: str


def clamped_mss(path_mtu: int) -> tuple[int, int]:
    """Return the largest MSS inside an IPv4 tunnel, for IPv4 and IPv6; `path_mtu` is in bytes of outer packet."""
    inner = path_mtu - TUNNEL_OVERHEAD
    return inner - IPV4_TCP, inner - IPV6_TCP


class BackendDataPlane:
    """Decapsulation, second chance and clamp of one backend. Set everything before `attach`: nothing is lost."""

    def __init__(
        self,
        directory: Path,
        program: Program,
        maps: dict[str, Map],
        making: Making,
        memory: BackendMemory,
        families: frozenset[IPVersion],
    ) -> None:
        self.program = program
        self._families = families
        self._directory = directory
        self._maps = maps
        self._making = making
        self._memory = memory

    @classmethod
    def open(
        cls,
        directory: Path,
        own: Sequence[Address],
        second_chance: bool = True,
        table_places: int = TABLE_PLACES,
        object_path: Path = DECAP_OBJECT,
    ) -> BackendDataPlane:
        """Load the program for packets to the `own` addresses, at most one of a family.

        It works on the maps pinned in `directory` or on new ones.
        What is attached goes on unchanged until `attach`. Raises DataPlaneError.
        """
        with BpfObject.open(object_path) as decap:
            layout, pins = BackendLayout.of(decap.btf), pins_of(directory)
            making = _prepare(decap, layout, table_places)
            _set_constants(decap, own, second_chance)
            adopted = pins.adopt(making, MAPS)
            reused = adopted if adopted is not None else pins.share(making, SHARED)
            for name, existing in reused.items():
                decap.reuse(name, existing)
            decap.load()
            maps = reused | {name: decap.map(name) for name in MAPS if name not in reused}
            if adopted is None:
                NodeMemory(maps, layout.node).control["table_places"] = table_places
                pins.add(making, maps)
            memory = BackendMemory(maps, layout, adopted is not None)
            families = frozenset(version_of(address) for address in own)
            return cls(directory, decap.program("decap"), maps, making, memory, families)

    @classmethod
    def read(cls, directory: Path) -> Snapshot | None:
        """Return what is pinned in `directory`, by whomever; None when nothing with this layout is."""
        with BpfObject.open(DECAP_OBJECT) as decap:
            layout = BackendLayout.of(decap.btf)
        try:
            maps = pins_of(directory).maps_like(layout.digest, MAPS)
        except LayoutError:
            return None
        try:
            memory = BackendMemory(maps, layout, is_adopted=False)
            return Snapshot(
                self_id=memory.self_id,
                sources=memory.members.present(),
                vips=memory.vips.entries(),
                heard=memory.heard(),
                intake=memory.intake(),
                tables=memory.tables.loaded(),
                digests=memory.tables.digests(),
                counters=memory.counters(),
                xdp=pinned_mode(directory),
            )
        finally:
            for opened in maps.values():
                opened.close()

    def set_self(self, number: BackendId | None) -> None:
        """Say which id this backend has."""
        self._memory.self_id = number

    def set_sources(self, sources: Mapping[Address, MemberKind]) -> None:
        """Accept GRE from exactly these addresses."""
        self._memory.members.set(sources)

    def set_backends(self, entries: Sequence[BackendEntry]) -> None:
        """Make `entries` all the backends that packets can be passed on to, by tunnels of this one's families."""
        self._memory.backends.set(entries, self._families)

    def load(self, table: PoolTable) -> None:
        """Let this be the pool's newest epoch, at once for every packet."""
        if self._memory.tables.stage(table):
            self._memory.vips.renew()
        self._memory.tables.switch(table.pool)

    def set_vips(self, entries: Sequence[VipEntry], heard: Iterable[VipKey] = ()) -> None:
        """Take inner packets for exactly these VIPs (their pools must be loaded), with second chance for `heard`."""
        self._memory.vips.set(entries)
        self._memory.set_heard(heard)

    def set_intake(self, intake: Mapping[PoolName, Intake]) -> None:
        """Take these new flows; others go to their owners."""
        self._memory.set_intake(intake)

    def drop_pool(self, pool: PoolName) -> None:
        """Forget a pool and its table; its VIPs must have been taken away."""
        self._memory.tables.drop(pool)

    def tables(self) -> dict[PoolName, PoolTables]:
        """Return which epochs the kernel holds."""
        return self._memory.tables.loaded()

    def sources(self) -> dict[Address, MemberKind]:
        """Return whose GRE the kernel accepts now."""
        return self._memory.members.present()

    def vips(self) -> tuple[VipEntry, ...]:
        """Return the VIPs that the kernel takes packets for now."""
        return self._memory.vips.entries()

    def heard(self) -> frozenset[VipKey]:
        """Return the VIPs with a second chance."""
        return self._memory.heard()

    def counters(self) -> dict[str, Count]:
        """Return what became of the packets so far, by the outcome's name."""
        return self._memory.counters()

    def attach(self, ifindex: int, mode: AttachMode) -> Attachment:
        """Run the program on what comes in by the interface, in place of what an earlier agent attached
        there.

        Raises AttachError when the kernel refuses, with `mode` AUTO only if it refuses generic XDP too.
        """
        attachment = self._adopt_link(ifindex, mode) or self._new_link(ifindex, mode)
        pins_of(self._directory).use(self._making)
        return attachment

    @property
    def is_waiting(self) -> bool:
        """Whether packets go by the maps of another making, until `attach`."""
        return pins_of(self._directory).making != self._making and holds_link(self._directory)

    def load_clamp(self, path_mtu: int) -> Program:
        """Load the MSS clamp for the same VIPs; the caller attaches it to the way out, and closes it."""
        with BpfObject.open(CLAMP_OBJECT) as clamp:
            ipv4, ipv6 = clamped_mss(path_mtu)
            clamp.set_constant("mss_ipv4", ipv4)
            clamp.set_constant("mss_ipv6", ipv6)
            for name in NODE_MAPS:
                clamp.reuse(name, self._maps[name])
            clamp.load()
            return clamp.program("clamp")

    def close(self) -> None:
        """Let go of the descriptors; what is pinned and attached stays."""
        self.program.close()
        for held in self._maps.values():
            held.close()

    def _adopt_link(self, ifindex: int, mode: AttachMode) -> Attachment | None:
        """Put our program on the pinned link; None, and it is removed, when it is not as it should be."""
        path = self._directory / LINK_PIN
        if not path.exists():
            return None
        with contextlib.closing(XdpLink.open_pinned(path)) as link:
            running = xdp_mode(ifindex) if link.ifindex == ifindex else None
            if running is not None and mode.value in (AttachMode.AUTO.value, running.name.lower()):
                link.update(self.program)
                return Attachment(
                    running, "" if running is XdpMode.NATIVE else "as an earlier agent attached it"
                )
        remove_link(self._directory)
        return None

    def _new_link(self, ifindex: int, mode: AttachMode) -> Attachment:
        if mode is AttachMode.GENERIC:
            return self._attach_as(ifindex, XdpMode.GENERIC, "as configured")
        try:
            return self._attach_as(ifindex, XdpMode.NATIVE, "")
        except DataPlaneError as error:
            if mode is AttachMode.NATIVE:
                raise
            return self._attach_as(ifindex, XdpMode.GENERIC, str(error))

    def _attach_as(self, ifindex: int, mode: XdpMode, reason: str) -> Attachment:
        with contextlib.closing(XdpLink.attach(self.program, ifindex, mode)) as link:
            link.pin(self._directory / LINK_PIN)
        return Attachment(mode, reason)


def unload(directory: Path) -> bool:
    """Take decapsulation off its interface and remove all pins in `directory`; False when there were none."""
    pins = pins_of(directory)
    had_link, had_maps = remove_link(directory), pins.exist
    pins.remove()
    return had_link or had_maps


def _prepare(decap: BpfObject, layout: BackendLayout, table_places: int) -> Making:
    """Set the sizes of the maps, and return what they are made for."""
    sizes = {
        "tables": -(-table_places // layout.node["TABLE_ROW"]),
        "counts": possible_cpus(),
        "fragments": FRAGMENTS,
    }
    for name, entries in sizes.items():
        decap.resize(name, entries)
    return Making.of(layout.digest, decap.btf, {**sizes, "table_places": table_places})


def _set_constants(decap: BpfObject, own: Sequence[Address], second_chance: bool) -> None:
    for address in own:
        decap.set_constant(f"own_ipv{address.version}", pack_address(address))
    decap.set_constant("second_chance", int(second_chance))
