"""What a node's data plane has counted, with the names that the fleet has for it."""

from __future__ import annotations

from lbnode.dataplane.node import NodeDataPlane
from lbnode.model.ids import BackendName, NodeName
from lbnode.model.traffic import Traffic
from lbnode.model.view import FleetView


def count_traffic(node: NodeName, plane: NodeDataPlane, view: FleetView) -> Traffic:
    """Return the counters of now. A backend that the fleet does not know any more has its id for a name."""
    names = {member.id: name for name, member in view.backends.items()}
    return Traffic(
        node=node,
        outcomes=plane.counters(),
        vips={str(key): count for key, count in plane.vip_counters().items()},
        pools=plane.pool_counters(),
        backends={
            names.get(number, BackendName(str(number))): count
            for number, count in plane.backend_counters().items()
        },
    )
