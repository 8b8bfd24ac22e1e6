"""Reading the nodes' packet counters per bucket from their pinned maps."""

from __future__ import annotations

from collections.abc import Sequence

from lbnode.lab.carriers import Sample
from lbnode.lab.running import RunningLab


def read_sample(lab: RunningLab, buckets: Sequence[int]) -> Sample:
    """Return the packets of each of `buckets` that each node has counted."""
    raise NotImplementedError
