"""Step 3: a bucket whose home slot does not serve goes to the serving slot that is first in its own order.

The order is weighted rendezvous (Thaler and Ravishankar, 1998; logarithmic weighting), in integers only. It
depends on the bucket, the seed and each slot's number and weight, so a lost slot's buckets spread over the
others by weight, and moving one slot in or out of service moves no bucket between two others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ring.engine import NOBODY, engine
from ring.slots import Lineup

__all__ = ["NOBODY", "serve"]


def serve(home: NDArray[np.uint16], lineup: Lineup, seed: int) -> NDArray[np.uint16]:
    """Return the index of the slot that serves each bucket, NOBODY where none does.

    `home` has the index in `lineup` of each bucket's home slot.
    """
    if lineup.serving.all():
        return home
    return engine().failover(home, lineup.numbers, lineup.weights, lineup.serving, seed)
