"""The pin directory: maps and links of one instance on its own bpffs, made whole or not at all.

<directory>/node/<map>           the maps by name
<directory>/node/link_<ifindex>  one for each interface (names on bpffs may hold no dots)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lbnode.dataplane.errors import PinError
from lbnode.dataplane.libbpf import Map, XdpLink

_DIRECTORY = "node"
_UNFINISHED = "node_new"
_LINK = "link_"


class Pins:
    """Pins below `directory`, which the caller has put on a mounted bpffs."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._directory = directory / _DIRECTORY

    @property
    def exist(self) -> bool:
        """True when an instance left its maps here."""
        return self._directory.is_dir()

    def create(self, maps: Mapping[str, Map]) -> None:
        """Pin `maps` by name: all of them are there at once, under the final name, or none."""
        unfinished = self._root / _UNFINISHED
        _remove(unfinished)
        try:
            unfinished.mkdir()
        except OSError as error:
            raise PinError(
                f"pin maps under {self._root}: {error.strerror}: it must be a mounted bpffs"
            ) from error
        for name, each in maps.items():
            each.pin(unfinished / name)
        os.rename(unfinished, self._directory)

    def maps(self, names: tuple[str, ...]) -> dict[str, Map]:
        """Open the pinned maps; raises PinError when one is missing."""
        return {name: Map.open_pinned(self._directory / name) for name in names}

    def link_path(self, ifindex: int) -> Path:
        """Where the link of an interface is pinned."""
        return self._directory / f"{_LINK}{ifindex}"

    def link_paths(self) -> list[Path]:
        """Where links are pinned, of whatever interface."""
        return sorted(self._directory.glob(f"{_LINK}*"))

    def links(self) -> dict[int, XdpLink]:
        """Open the pinned links of interfaces that still exist; pins of others are removed."""
        found: dict[int, XdpLink] = {}
        for path in self.link_paths():
            link = XdpLink.open_pinned(path)
            if link.ifindex:
                found[link.ifindex] = link
            else:
                link.close()
                path.unlink()
        return found

    def remove(self) -> None:
        """Take every pin away: what nobody else holds is gone."""
        _remove(self._root / _UNFINISHED)
        _remove(self._directory)


def _remove(directory: Path) -> None:
    with suppress(FileNotFoundError):
        for path in list(directory.iterdir()):
            path.unlink()
        directory.rmdir()
