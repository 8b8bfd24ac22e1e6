"""The backend's end of the tunnel in the kernel: decapsulation on a link's way in, the MSS clamp's program.

Everything is pinned in one directory on bpffs and attached by bpf_link, so it goes on when the agent stops,
crashes or is replaced. The next agent adopts the maps and puts its own program on the link. Maps whose layout
differs (another release's) are not adopted but filled anew before the program changes: no packet meets an
empty map.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.dataplane.backend_layout import (
    Address,
    Counter,
    Service,
    layout_digest,
    outcome_names,
    pack_address,
    pack_services,
)
from lbnode.dataplane.backend_maps import read_counters, read_services, read_sources, write
from lbnode.dataplane.backend_pins import (
    LINK_PIN,
    adopt_maps,
    maps_directory,
    open_maps,
    pin_maps,
    pinned_mode,
    remove_link,
    remove_maps,
)
from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.libbpf import BpfObject, Map, Program, XdpLink, XdpMode, xdp_mode

OBJECTS = Path(__file__).resolve().parent.parent / "bpf" / "build"
DECAP_OBJECT = OBJECTS / "decap.bpf.o"
CLAMP_OBJECT = OBJECTS / "clamp.bpf.o"

SOURCE_VALUE = (1).to_bytes(4, "little")

TUNNEL_OVERHEAD = 28
"""Outer IPv4 header and GRE with key, which always counts (design.md §4)."""
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
            pins = maps_directory(directory, digest)
            decap.set_constant("tunnel", pack_address(tunnel))
            adopted = adopt_maps(pins, decap)
            decap.load()
            maps = adopted or pin_maps(pins, decap)
            return cls(directory, decap, maps, digest)

    @classmethod
    def read(cls, directory: Path) -> Snapshot | None:
        """Return what is pinned in `directory`, by whomever; None when nothing with this layout is."""
        with BpfObject.open(DECAP_OBJECT) as decap:
            pins = maps_directory(directory, layout_digest(decap.btf))
            names = outcome_names(decap.btf)
        maps = open_maps(pins)
        if maps is None:
            return None
        try:
            return Snapshot(
                sources=read_sources(maps["sources"]),
                services=read_services(maps["services"]),
                counters=read_counters(maps["counters"], names),
                xdp=pinned_mode(directory),
            )
        finally:
            for opened in maps.values():
                opened.close()

    def set_sources(self, sources: Iterable[Address]) -> None:
        """Accept GRE from exactly these addresses."""
        write(self._maps["sources"], {pack_address(source): SOURCE_VALUE for source in sources})

    def set_services(self, services: Iterable[Service]) -> None:
        """Take inner packets for exactly these VIPs, and clamp the MSS of what comes from their addresses."""
        write(self._maps["services"], pack_services(tuple(services)))

    def sources(self) -> frozenset[Address]:
        """Return whose GRE the kernel accepts now."""
        return read_sources(self._maps["sources"])

    def services(self) -> frozenset[Service]:
        """Return the VIPs that the kernel takes packets for now, without the entries for addresses as a
        whole.
        """
        return read_services(self._maps["services"])

    def counters(self) -> dict[str, Counter]:
        """Return what became of the packets so far, by the outcome's name."""
        return read_counters(self._maps["counters"], self._names)

    def attach(self, ifindex: int, mode: AttachMode) -> Attachment:
        """Run the program on what comes in by the interface, in place of what an earlier agent attached
        there.

        Raises AttachError when the kernel refuses, with `mode` AUTO only if it refuses generic XDP too.
        """
        attachment = self._adopt_link(ifindex, mode) or self._new_link(ifindex, mode)
        remove_maps(self._directory, self._digest)
        return attachment

    def load_clamp(self, path_mtu: int) -> Program:
        """Load the MSS clamp for the same VIPs; the caller attaches it to the way out, and closes it."""
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
        """Put our program on the pinned link; None, and it is removed, when it is not as it should be."""
        path = self._directory / LINK_PIN
        if not path.exists():
            return None
        with contextlib.closing(XdpLink.open_pinned(path)) as link:
            running = xdp_mode(ifindex) if link.ifindex == ifindex else None
            if running is not None and mode.value in (AttachMode.AUTO.value, running.name.lower()):
                link.update(self._program)
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
        with contextlib.closing(XdpLink.attach(self._program, ifindex, mode)) as link:
            link.pin(self._directory / LINK_PIN)
        return Attachment(mode, reason)


def unload(directory: Path) -> bool:
    """Take decapsulation off its interface and remove all pins in `directory`; False when there were none."""
    link, maps = remove_link(directory), remove_maps(directory)
    return link or maps
