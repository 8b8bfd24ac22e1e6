"""On whom nodes and the leader have an opinion: a pool's members, and who is to leave it but still sits in a slot.

A leaver sits there while its successor is not ready, or while its leaving would break flows (`lbnode.core.admission`):
for an hour if need be, and it gets new flows all the time.
"""

from __future__ import annotations

from lbnode.model.fleet import Pool
from lbnode.model.ids import BackendName
from lbnode.model.view import FleetView


def judged(view: FleetView, pool: Pool) -> tuple[BackendName, ...]:
    """Return their names: members first, in their order."""
    epochs = (view.current_epoch(pool.name), view.newest(pool.name))
    seated = {slot.backend for epoch in epochs if epoch is not None for slot in epoch.slots}
    occupants = sorted(name for name, member in view.backends.items() if member.id in seated)
    return tuple(dict.fromkeys((*(member.backend for member in pool.members), *occupants)))
