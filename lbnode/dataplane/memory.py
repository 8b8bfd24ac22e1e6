"""The node's maps as memory: numpy views of what the program reads, and the words whose store makes a change visible.

Stores of single words are single instructions (numpy writes an aligned 64-bit integer at once), and x86-64 keeps
stores in order: whoever sees the word sees what was written before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.layout import MAPS, SHARED_MAPS, Layout
from lbnode.dataplane.libbpf import Map

Records = NDArray[np.void]
Words = NDArray[np.uint64]

NODE_MAPS = (*MAPS, *SHARED_MAPS)
"""With those that are no memory: hash maps, read and written by the program alone."""
WORD = 8


class NodeMemory:
    """Views of the maps, by the names of `lbnode/bpf/layout.h`; they stay valid after the maps are closed."""

    def __init__(self, maps: Mapping[str, Map], layout: Layout) -> None:
        self.layout = layout
        state = maps["node_state"].mmap()
        whole: Records = np.frombuffer(state, dtype=layout.shapes["state"], count=1)[0]
        words: Words = np.frombuffer(state, dtype="<u8")
        self.control: Any = whole["control"]
        self.sources: Records = whole["source"]
        self.vips: Records = whole["vips"]
        self.prefixes: Records = whole["prefixes"]
        self.pools: Records = whole["pool"]
        self.current = self._column(words, ("pool", "current"), layout["POOL_PLACES"])
        self.own_macs = self._column(words, ("own_mac",), layout["INTERFACE_PLACES"])
        self.chosen_directory = self._column(words, ("control", "directory"), 1)
        self.chosen_tunnels = self._column(words, ("control", "tunnels"), 1)
        self.tunnels: Records = np.frombuffer(
            maps["tunnels"].mmap(), dtype=layout.shapes["tunnels"], count=2 * layout["TUNNELS_IPV6"]
        )["backend"]
        places = maps["tables"].max_entries * layout["TABLE_ROW"]
        self.tables: Words = np.frombuffer(maps["tables"].mmap(), dtype="<u8", count=places)
        cpus = maps["counts"].max_entries
        self.counts: NDArray[np.uint64] = np.frombuffer(
            maps["counts"].mmap(), dtype="<u8", count=cpus * layout["COUNT_ROWS"] * 2
        ).reshape(cpus, layout["COUNT_ROWS"], 2)
        self.bucket_counts: Words = np.frombuffer(
            maps["bucket_counts"].mmap(), dtype="<u8", count=maps["bucket_counts"].max_entries
        )
        self.pool_records: Records = np.frombuffer(
            maps["pool_records"].mmap(), dtype=layout.shapes["pool_record"], count=layout["POOL_PLACES"]
        )

    def _column(self, words: Words, path: tuple[str, ...], count: int) -> Words:
        """The word at `path` of every record of an array in `struct state`: a view with the records' stride."""
        shape = self.layout.shapes["state"]
        assert shape.fields is not None
        array = shape.fields[path[0]][0]
        stride = (array.subdtype[0] if array.subdtype else array).itemsize // WORD
        start = self.layout.offset(*path) // WORD
        return words[start : start + (count - 1) * stride + 1 : stride]
