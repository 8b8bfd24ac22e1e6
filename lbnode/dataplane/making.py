"""What pinned maps are made for, so that no daemon takes maps that another made otherwise for its own. Pure.

Digests, not a number: nobody has to remember to raise it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbnode.dataplane.btf import Btf
from lbnode.dataplane.layout import SHARED_MAPS, digest

_PARTS = 3


@dataclass(frozen=True, slots=True)
class Making:
    """Digests; where one differs, the maps are others.

    `layout`: structures and vocabulary of what user space fills. `shared`: of the maps that packets fill, which two
    makings may have in common, and their sizes. `sizes`: those of the maps that user space fills.
    """

    layout: str
    shared: str
    sizes: str

    @classmethod
    def of(cls, layout: str, btf: Btf, sizes: Mapping[str, int]) -> Making:
        """Return the making of an object with this layout and BTF, its maps resized to `sizes` entries."""
        shared = {name: found for name, found in btf.maps().items() if name in SHARED_MAPS}
        entries = {name: sizes.get(name) for name in shared}
        return cls(
            layout,
            digest((shared, entries)),
            digest(sorted((name, size) for name, size in sizes.items() if name not in shared)),
        )

    def __str__(self) -> str:
        return f"{self.layout}-{self.shared}-{self.sizes}"

    @classmethod
    def parse(cls, text: str) -> Making | None:
        """Return what `str` made `text` of; None where it is something else."""
        parts = text.split("-")
        return cls(*parts) if len(parts) == _PARTS else None
