"""The node's structures as numpy sees them, taken from the object's own BTF: they cannot disagree with the C."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from lbnode.dataplane.btf import Btf

STRUCTURES = ("state", "cpu_counts", "pool_record", "table_row", "tunnels")
ENUMS = (
    "outcome", "capacity", "vip_key", "stretch_key", "vip_flags", "stamp_bits", "current_bits", "pool_flags",
    "bucket_flags",
    "tunnel_flags", "text_size",
)  # fmt: skip

MAPS = ("node_state", "tunnels", "tables", "counts", "bucket_counts", "pool_records")
"""What user space sees as memory, at nodes and at backends."""
AGENT_MAPS = ("sources", "agent_state")
"""What user space fills beside them at backends."""
SHARED_MAPS = ("flows", "new_flows", "fragments")
"""What packets fill: two programs may go by the same one, whatever else they have."""

OUTCOME_PREFIX = "OUTCOME_"
_DIGEST_SIZE = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """Shapes (by structure name), constants (by C name), outcomes in counter order.

    `digest`: eight digits over them and over the maps that user space fills.
    """

    shapes: dict[str, np.dtype[Any]]
    constants: dict[str, int]
    outcomes: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, btf: Btf) -> Layout:
        """Read the layout of the object that `btf` belongs to."""
        shapes = {name: btf.dtype(name) for name in STRUCTURES}
        constants = {name: value for enum in ENUMS for name, value in btf.enum(enum).items()}
        outcomes = [name for name in btf.enum("outcome") if name != "OUTCOME_COUNT"]
        names = tuple(name.removeprefix(OUTCOME_PREFIX) for name in outcomes)
        maps = btf.maps()
        described = [(name, maps[name]) for name in MAPS], sorted(constants.items())
        return cls(shapes, constants, names, digest(described))

    def __getitem__(self, constant: str) -> int:
        return self.constants[constant]

    def offset(self, *path: str) -> int:
        """Return where in `struct state` the field at `path` starts, in bytes."""
        shape, offset = self.shapes["state"], 0
        for name in path:
            fields = (shape.subdtype[0] if shape.subdtype else shape).fields
            assert fields is not None, f"{path}: {name} is in no structure"
            shape, step = fields[name][0], fields[name][1]
            offset += step
        return offset


def digest(described: object) -> str:
    """Return eight digits over `described`, whose `repr` must be the same in every run."""
    return blake2b(repr(described).encode(), digest_size=_DIGEST_SIZE).hexdigest()
