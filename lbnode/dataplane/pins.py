"""The pin directory of one instance on its own bpffs: maps that carry packets, maps that are being filled, links.

<directory>/<kind>                    symbolic link: the maps in use
<directory>/<kind>-<making>/<map>     maps by name, a directory for each making
<directory>/link_<ifindex>            a node's links (names on bpffs may hold no dots)

Maps of another making never get in the way of those in use: they are pinned beside them, filled, and `use` switches
by one rename. What the symbolic link does not name carries no packet's fate, and the next `use` removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lbnode.dataplane.errors import LayoutError, PinError
from lbnode.dataplane.libbpf import Map, XdpLink
from lbnode.dataplane.making import Making

NODE = "node"
BACKEND = "decap-maps"
_UNFINISHED = "unfinished"
_LINK = "link_"


class Pins:
    """Pins below `directory`, which the caller has put on a mounted bpffs. `kind`: NODE or BACKEND."""

    def __init__(self, directory: Path, kind: str = NODE) -> None:
        self._root = directory
        self._kind = kind
        self._in_use = directory / kind

    @property
    def exist(self) -> bool:
        """True when an instance left anything here."""
        return bool(self._all())

    @property
    def making(self) -> Making | None:
        """What the maps in use are made for; None when there are none."""
        if not self._in_use.is_symlink():
            return None
        return Making.parse(self._in_use.readlink().name.removeprefix(f"{self._kind}-"))

    def maps(self, names: Iterable[str]) -> dict[str, Map]:
        """Open the maps in use; raises PinError when one is missing."""
        opened: dict[str, Map] = {}
        try:
            for name in names:
                opened[name] = Map.open_pinned(self._in_use / name)
        except PinError:
            for held in opened.values():
                held.close()
            raise
        return opened

    def maps_like(self, layout: str, names: Iterable[str]) -> dict[str, Map]:
        """Open the maps in use, to read them; raises LayoutError when they are laid out otherwise."""
        making = self.making
        if making is None or making.layout != layout:
            raise LayoutError(f"read pins in {self._root}: made by another release: ask that one's commands")
        return self.maps(names)

    def adopt(self, making: Making, names: Iterable[str]) -> dict[str, Map] | None:
        """Open the maps in use; None unless they are of this making, and all there."""
        if self.making != making:
            return None
        try:
            return self.maps(names)
        except PinError:
            self._in_use.unlink()
            return None

    def share(self, making: Making, names: Iterable[str]) -> dict[str, Map]:
        """Open what maps in use of another making have in common with those of `making`."""
        before = self.making
        if before is None or before.shared != making.shared:
            return {}
        try:
            return self.maps(names)
        except PinError:
            return {}

    def add(self, making: Making, maps: Mapping[str, Map]) -> None:
        """Pin `maps`, all of them or none, beside those in use. Raises PinError."""
        unfinished, final = self._root / f"{self._kind}-{_UNFINISHED}", self._of(making)
        _remove(unfinished)
        _remove(final)
        try:
            unfinished.mkdir(mode=0o700)
        except OSError as error:
            raise PinError(
                f"pin maps under {self._root}: {error.strerror}: it must be a mounted bpffs"
            ) from error
        for name, each in maps.items():
            each.pin(unfinished / name)
        unfinished.rename(final)

    def use(self, making: Making) -> None:
        """Let the maps of this making be those in use, at once, and remove all others."""
        if self.making != making:
            aside = self._root / f"{self._kind}-{_UNFINISHED}"
            aside.unlink(missing_ok=True)
            aside.symlink_to(self._of(making).name)
            os.replace(aside, self._in_use)
        for path in self._directories():
            if path != self._of(making):
                _remove(path)

    def link_path(self, ifindex: int) -> Path:
        """Where the link of an interface is pinned."""
        return self._root / f"{_LINK}{ifindex}"

    def link_paths(self) -> list[Path]:
        """Where links are pinned, of whatever interface."""
        return sorted(self._root.glob(f"{_LINK}*"))

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
        self._in_use.unlink(missing_ok=True)
        for path in self._all():
            _remove(path)

    def _of(self, making: Making) -> Path:
        return self._root / f"{self._kind}-{making}"

    def _directories(self) -> list[Path]:
        return sorted(self._root.glob(f"{self._kind}-*"))

    def _all(self) -> list[Path]:
        return [*self._directories(), *self.link_paths()]


def _remove(path: Path) -> None:
    """Remove a pin, or a directory of pins."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        for pin in list(path.iterdir()):
            pin.unlink()
        path.rmdir()
