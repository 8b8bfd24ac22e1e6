"""VIPs as they lie in the node's maps (struct vip, struct directory, struct prefixes): written, and read back."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

import numpy as np

from lbnode.dataplane.addresses import Words as AddressWords
from lbnode.dataplane.addresses import address_words, unpack_address
from lbnode.dataplane.directory import Directory, Words, build
from lbnode.dataplane.errors import CapacityError
from lbnode.dataplane.memory import Records
from lbnode.dataplane.prefixes import Prefix, Stretch
from lbnode.dataplane.tables import Hashing
from lbnode.model.ids import IPAddress, IPNetwork
from lbnode.model.vip import PortRange, Protocol, VipAddress, VipKey, vip_address

_MASK = (1 << 64) - 1
_FAMILIES = (4, 6)
_FAMILY_MASK = 0xF


class Place(NamedTuple):
    """A struct vip. `words`: its address and its key."""

    words: Words
    packed: bytes


def pack_place(words: Words, **fields: int) -> Place:
    """Return the struct vip with these of its other fields; the rest are 0."""
    return Place(words, _PLACE.pack(*words, *(_BLANK | fields).values()))


_PLACE = struct.Struct("<5I2H2I3Q2HI")
_BLANK = dict.fromkeys(
    ("pool", "flags", "row", "size", "hash", "sources", "ports", "first_port", "last_port", "prefix_length"),
    0,
)


class VipRecords:
    """How VIPs are packed, by the constants of `lbnode/bpf/layout.h`."""

    def __init__(self, constants: Mapping[str, int]) -> None:
        self._constants = constants

    def directory(self, places: Sequence[Place]) -> Directory:
        """Return where each of `places` lies; raises CapacityError."""
        return build([place.words for place in places], self._constants["VIP_PLACES"])

    # -- one VIP

    def exact(self, vip: VipKey, pool: int, row: int, hashing: Hashing) -> Place:
        """Return the entry of a VIP of one address and port, with what it copies of its pool for each packet."""
        return self._place(vip.network, self._port(vip.ports.first), vip, pool, row, hashing)

    def fragments(self, address: IPAddress, vip: VipKey, pool: int, row: int, hashing: Hashing) -> Place:
        """Return the entry that takes the fragments to `address`, and counts them for `vip`."""
        return self._place(ip_network(address), self._constants["VIP_FRAGMENTS"], vip, pool, row, hashing)

    def wide(self, vip: VipKey, pool: int, row: int, hashing: Hashing) -> Place:
        """Return a VIP of many addresses or ports; its destination's part of the hash is each packet's."""
        words = (*address_words(vip.network.network_address), self._key(vip, 0))
        ports = {"first_port": vip.ports.first, "last_port": vip.ports.last}
        copied = self._copied(hashing, vip.protocol, None)
        return pack_place(words, pool=pool, row=row, prefix_length=vip.network.prefixlen, **ports, **copied)

    def _place(
        self, network: IPNetwork, port: int, vip: VipKey, pool: int, row: int, hashing: Hashing
    ) -> Place:
        address = address_words(network.network_address)
        copied = self._copied(hashing, vip.protocol, address)
        return pack_place((*address, self._key(vip, port)), pool=pool, row=row, **copied)

    def _copied(self, hashing: Hashing, protocol: Protocol, address: AddressWords | None) -> dict[str, int]:
        """What a VIP copies of its pool for each packet; `address`: its one, if it has but one."""
        shared, ports = hashing.keys[0], 0
        if not hashing.by_source:
            shared += sum(
                key * word for key, word in zip(hashing.keys[5:9], address or (0, 0, 0, 0), strict=True)
            )
            shared += hashing.keys[10] * protocol
            ports = hashing.keys[9]
        flags = self._constants["VIP_SIPHASH"] if hashing.siphash else 0
        return {
            "flags": flags,
            "size": hashing.size,
            "hash": shared & _MASK,
            "sources": hashing.keys[4],
            "ports": ports,
        }

    def _key(self, vip: VipKey, port: int) -> int:
        family = vip.network.version << self._constants["VIP_FAMILY_SHIFT"]
        return port | vip.protocol << self._constants["VIP_PROTOCOL_SHIFT"] | family

    @staticmethod
    def _port(port: int) -> int:
        """The port as a little-endian host loads it."""
        return int.from_bytes(port.to_bytes(2, "big"), "little")

    # -- prefixes

    def prefixes(self, prefixes: Sequence[Prefix]) -> tuple[list[Place], list[Stretch]]:
        """Return the directory's entries for `prefixes`, and all stretches in order; those that agree share them."""
        places: list[Place] = []
        stretches: list[Stretch] = []
        starts: dict[tuple[Stretch, ...], int] = {}
        for prefix in prefixes:
            own = tuple(sorted(prefix.stretches, key=self._extent))
            if own not in starts:
                starts[own] = len(stretches)
                stretches += own
            words = (*address_words(prefix.network.network_address), self._length_key(prefix.network))
            flags = self._constants["VIP_WRONG_PASS"] if prefix.wrong_port_pass else 0
            places.append(pack_place(words, flags=flags, row=starts[own], size=len(own)))
        if len(stretches) > self._constants["STRETCHES"]:
            raise CapacityError(
                f"VIPs: {len(stretches)} stretches of ports do not fit: the node's program holds "
                f"{self._constants['STRETCHES']}: raise STRETCHES in lbnode/bpf/layout.h and rebuild, or join ranges"
            )
        return places, stretches

    def _length_key(self, network: IPNetwork) -> int:
        return network.prefixlen | network.version << self._constants["VIP_FAMILY_SHIFT"]

    def write_lengths(self, record: Records, prefixes: Sequence[Prefix]) -> None:
        """Write which prefix lengths are in use, of each family the longest first."""
        for family in _FAMILIES:
            networks = {prefix.network.prefixlen: prefix.network for prefix in prefixes
                        if prefix.network.version == family}  # fmt: skip
            lengths = record[f"ipv{family}"]
            lengths["key"] = 0
            for index, length in enumerate(sorted(networks, reverse=True)):
                lengths[index]["mask"]["word"] = address_words(networks[length].netmask)
                lengths[index]["key"] = self._length_key(networks[length])

    def write_stretches(
        self, record: Records, stretches: Sequence[Stretch], numbers: Mapping[VipKey, int]
    ) -> None:
        """Write all stretches; `numbers` says where in `vip` each VIP lies."""
        for index, stretch in enumerate(stretches):
            record["stretch"][index] = (*self._extent(stretch), numbers[stretch.vip], 0)

    def _extent(self, stretch: Stretch) -> tuple[int, int]:
        """The first and the last key of a stretch."""
        protocol = stretch.protocol << self._constants["STRETCH_PROTOCOL_SHIFT"]
        if stretch.ports is None:
            return (protocol | self._constants["STRETCH_FRAGMENTS"],) * 2
        return protocol | stretch.ports.first, protocol | stretch.ports.last

    # -- back

    def read_exact(self, places: Records) -> Iterator[tuple[VipKey, Any]]:
        """Yield the VIPs of one address and port in a directory, each with its struct vip."""
        for place in places[places["key"] != 0]:
            key = int(place["key"])
            if not key & self._constants["VIP_FRAGMENTS"]:
                port = int.from_bytes((key & 0xFFFF).to_bytes(2, "little"), "big")
                yield VipKey(self._address(place), self._protocol(key), port), place

    def read_wide(self, places: Records) -> Iterator[tuple[VipKey, Any]]:
        """Yield the other VIPs, each with its struct vip."""
        for place in places[places["key"] != 0]:
            first, last = int(place["first_port"]), int(place["last_port"])
            network = ip_network((self._address(place), int(place["prefix_length"])))
            port = first if first == last else PortRange(first, last)
            yield VipKey(vip_address(network), self._protocol(int(place["key"])), port), place

    def read_passing(self, places: Records) -> set[VipAddress]:
        """Return the prefixes that pass wrong ports on."""
        passing = places[places["flags"] & self._constants["VIP_WRONG_PASS"] != 0]
        return {
            vip_address(ip_network((self._address(place), int(place["key"]) & 0xFFFF))) for place in passing
        }

    def _protocol(self, key: int) -> Protocol:
        return Protocol(key >> self._constants["VIP_PROTOCOL_SHIFT"] & 0xFF)

    def _address(self, place: Any) -> IPAddress:
        family = int(place["key"]) >> self._constants["VIP_FAMILY_SHIFT"] & _FAMILY_MASK
        return unpack_address(place["address"].tobytes(), family)


def write_directory(record: Records, directory: Directory, places: Sequence[Place]) -> None:
    """Fill `record`, a struct directory."""
    record["displacement"] = 0
    record["displacement"][: len(directory.displacement)] = directory.displacement
    record["seed"] = directory.seed
    record["mask"] = directory.mask
    write_places(record["place"], directory.places, places)


def write_places(records: Records, where: Sequence[int], places: Sequence[Place]) -> None:
    """Fill `records`, an array of struct vip; those that are not among `where` become free."""
    records[:] = np.zeros((), records.dtype)
    records[list(where)] = np.frombuffer(b"".join(place.packed for place in places), dtype=records.dtype)
