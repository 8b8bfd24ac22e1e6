"""The backend's end of the tunnel in the kernel: decapsulation on a link's way in, its maps, the MSS clamp's
program.

Everything is pinned below one directory on bpffs and attached by bpf_link, so it goes on when the agent
stops, crashes or is replaced. The next agent adopts the maps and puts its own program on the link. Maps whose
layout differs (another release's) are not adopted but filled anew before the program changes: no packet meets
an empty map.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.dataplane.backend_layout import (
    COUNTER,
    Address,
    Counter,
    Service,
    layout_digest,
    outcome_names,
    pack_address,
    pack_services,
    unpack_address,
    unpack_service,
)
from lbnode.dataplane.errors import DataPlaneError, PinError
from lbnode.dataplane.libbpf import BpfObject, Map, Program, XdpLink, XdpMode, possible_cpus, xdp_mode

OBJECTS = Path(__file__).resolve().parent.parent / "bpf" / "build"
DECAP_OBJECT = OBJECTS / "decap.bpf.o"
CLAMP_OBJECT = OBJECTS / "clamp.bpf.o"

MAPS = ("services", "sources", "counters")
MAPS_PREFIX = "decap-maps-"
LINK_PIN = "decap-link"
SOURCE_VALUE = (1).to_bytes(4, "little")

TUNNEL_OVERHEAD = 28
"""Outer IPv4 header and GRE with key, which always counts (design.md §4)."""
IPV4_TCP = 40
IPV6_TCP = 60


class AttachMode(Enum):
    """How decapsulation may hang on the interface: AUTO takes generic XDP where native is refused, and says
    why.
    """

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
    """What the kernel holds for one backend, whether or not its agent runs."""

    sources: frozenset[Address]
    services: frozenset[Service]
    counters: dict[str, Counter]
    xdp: str


def clamped_mss(path_mtu: int) -> tuple[int, int]:
    """Return the largest MSS inside a tunnel, for IPv4 and IPv6; `path_mtu` is in bytes of outer packet."""
    inner = path_mtu - TUNNEL_OVERHEAD
    return inner - IPV4_TCP, inner - IPV6_TCP


class BackendDataPlane:
    """Decapsulation and clamp of one backend. Set sources and services before `attach`: nothing is lost."""

    def __init__(self, directory: Path, decap: BpfObject, maps: dict[str, Map], digest: str) -> None:
        self._directory = directory
        self._program = decap.program("decap")
        self._maps = maps
        self._digest = digest
        self._names = outcome_names(decap.btf)

    @classmethod
    def open(cls, directory: Path, tunnel: IPv4Address) -> BackendDataPlane:
        """Load the program for packets to `tunnel`, on the maps pinned in `directory` or on new ones.

        What is attached goes on unchanged until `attach`. Raises DataPlaneError.
        """
        with BpfObject.open(DECAP_OBJECT) as decap:
            digest = layout_digest(decap.btf)
            pins = directory / (MAPS_PREFIX + digest)
            decap.set_constant("tunnel", pack_address(tunnel))
            adopted = _adopt_maps(pins, decap)
            decap.load()
            maps = adopted or _pin_maps(pins, decap)
            return cls(directory, decap, maps, digest)

    @classmethod
    def read(cls, directory: Path) -> Snapshot | None:
        """Return what is pinned in `directory`, by whomever; None when nothing with this layout is."""
        with BpfObject.open(DECAP_OBJECT) as decap:
            pins = directory / (MAPS_PREFIX + layout_digest(decap.btf))
            names = outcome_names(decap.btf)
        maps = _open_maps(pins)
        if maps is None:
            return None
        try:
            return Snapshot(
                sources=_sources(maps["sources"]),
                services=_services(maps["services"]),
                counters=_counters(maps["counters"], names),
                xdp=_pinned_mode(directory / LINK_PIN),
            )
        finally:
            for opened in maps.values():
                opened.close()

    def set_sources(self, sources: Iterable[Address]) -> None:
        """Accept GRE from exactly these addresses."""
        _write(self._maps["sources"], {pack_address(source): SOURCE_VALUE for source in sources})

    def set_services(self, services: Iterable[Service]) -> None:
        """Take inner packets for exactly these VIPs, and clamp the MSS of what comes from their addresses."""
        _write(self._maps["services"], pack_services(tuple(services)))

    def sources(self) -> frozenset[Address]:
        """Return whose GRE the kernel accepts now."""
        return _sources(self._maps["sources"])

    def services(self) -> frozenset[Service]:
        """Return the VIPs that the kernel takes packets for now, without the entries for addresses as a
        whole.
        """
        return _services(self._maps["services"])

    def counters(self) -> dict[str, Counter]:
        """Return what became of the packets so far, by the outcome's name."""
        return _counters(self._maps["counters"], self._names)

    def attach(self, ifindex: int, mode: AttachMode) -> Attachment:
        """Run the program on what comes in by the interface, in place of what an earlier agent attached
        there.

        Raises AttachError when the kernel refuses, with `mode` AUTO only if it refuses generic XDP too.
        """
        attachment = self._adopt_link(ifindex, mode) or self._new_link(ifindex, mode)
        _remove_other_maps(self._directory, self._digest)
        return attachment

    def load_clamp(self, path_mtu: int) -> Program:
        """Load the MSS clamp for the same VIPs; the caller attaches it to the interface's way out and closes
        it.
        """
        with BpfObject.open(CLAMP_OBJECT) as clamp:
            ipv4, ipv6 = clamped_mss(path_mtu)
            clamp.set_constant("mss_ipv4", ipv4)
            clamp.set_constant("mss_ipv6", ipv6)
            clamp.reuse("services", self._maps["services"])
            clamp.load()
            return clamp.program("clamp")

    def close(self) -> None:
        """Let go of the descriptors; what is pinned and attached stays."""
        self._program.close()
        for held in self._maps.values():
            held.close()

    def _adopt_link(self, ifindex: int, mode: AttachMode) -> Attachment | None:
        """Put our program on the pinned link; None, with the pin gone, when that link is elsewhere or
        otherwise made.
        """
        path = self._directory / LINK_PIN
        if not path.exists():
            return None
        link = XdpLink.open_pinned(path)
        try:
            running = xdp_mode(ifindex) if link.ifindex == ifindex else None
            if running is None or mode.value not in (AttachMode.AUTO.value, running.name.lower()):
                _drop_link(link, path)
                return None
            link.update(self._program)
            return Attachment(running, "" if running is XdpMode.NATIVE else "as an earlier agent attached it")
        finally:
            link.close()

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
        link = XdpLink.attach(self._program, ifindex, mode)
        try:
            link.pin(self._directory / LINK_PIN)
        finally:
            link.close()
        return Attachment(mode, reason)


def unload(directory: Path) -> bool:
    """Take decapsulation off its interface and remove all pins below `directory`. Returns False when there
    were none.
    """
    path = directory / LINK_PIN
    found = path.exists()
    if found:
        link = XdpLink.open_pinned(path)
        try:
            _drop_link(link, path)
        finally:
            link.close()
    return _remove_other_maps(directory, keep="") or found


def _drop_link(link: XdpLink, path: Path) -> None:
    with contextlib.suppress(DataPlaneError):  # the interface is gone: nothing to detach from
        link.detach()
    path.unlink()


def _adopt_maps(pins: Path, decap: BpfObject) -> dict[str, Map] | None:
    """Let `decap` use the pinned maps; None when there are none. An incomplete set (a crash while pinning) is
    removed.
    """
    if not pins.exists():
        return None
    maps = _open_maps(pins)
    if maps is None:
        shutil.rmtree(pins)
        return None
    for name, adopted in maps.items():
        decap.reuse(name, adopted)
    return maps


def _open_maps(pins: Path) -> dict[str, Map] | None:
    try:
        return {name: Map.open_pinned(pins / name) for name in MAPS}
    except PinError:
        return None


def _pinned_mode(path: Path) -> str:
    """How the pinned link hangs on its interface: "native", "generic", or "detached" when it does not."""
    if not path.exists():
        return "detached"
    link = XdpLink.open_pinned(path)
    try:
        mode = xdp_mode(link.ifindex) if link.ifindex else None
    finally:
        link.close()
    return mode.name.lower() if mode is not None else "detached"


def _sources(table: Map) -> frozenset[Address]:
    return frozenset(unpack_address(key) for key in _entries(table))


def _services(table: Map) -> frozenset[Service]:
    found = (unpack_service(key, value) for key, value in _entries(table).items())
    return frozenset(service for service in found if service.protocol)


def _counters(table: Map, names: Iterable[str]) -> dict[str, Counter]:
    return {name: _sum(table.lookup(index)) for index, name in enumerate(names)}


def _pin_maps(pins: Path, decap: BpfObject) -> dict[str, Map]:
    pins.mkdir(mode=0o700)
    maps = {name: decap.map(name) for name in MAPS}
    for name, made in maps.items():
        made.pin(pins / name)
    return maps


def _remove_other_maps(directory: Path, keep: str) -> bool:
    stale = [path for path in directory.glob(MAPS_PREFIX + "*") if path.name != MAPS_PREFIX + keep]
    for path in stale:
        shutil.rmtree(path)
    return bool(stale)


def _entries(table: Map) -> dict[bytes, bytes]:
    keys = table.keys()
    found = {key: table.lookup(key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _write(table: Map, wanted: Mapping[bytes, bytes]) -> None:
    """Make the map hold exactly `wanted`: what is new first, so that what stays is there at every moment."""
    present = _entries(table)
    for key, value in wanted.items():
        if present.get(key) != value:
            table.update(key, value)
    for key in present.keys() - wanted.keys():
        table.delete(key)


def _sum(value: bytes | None) -> Counter:
    each = list(COUNTER.iter_unpack(value or bytes(COUNTER.size * possible_cpus())))
    return Counter(sum(packets for packets, _ in each), sum(size for _, size in each))
