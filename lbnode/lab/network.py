"""Building and changing a lab's network: the lines of `wiring`, run where they belong."""

from __future__ import annotations

from lbnode.lab import namespaces, wiring
from lbnode.lab.errors import LabError
from lbnode.lab.plan import Host, Plan, Role
from lbnode.lab.shell import run_script


def build_router(plan: Plan) -> None:
    """Make the router's namespace with its bridges."""
    for path in (wiring.PASS_OBJECT, wiring.WIRE_OBJECT, wiring.STOCK_OBJECT):
        if not path.exists():
            raise LabError(f"{path}: not built: python hatch_build.py")
    namespaces.create(plan.router)
    run_script(plan.router, wiring.router_lines())


def build_host(plan: Plan, host: Host) -> None:
    """Make a host's namespace and plug it in."""
    namespaces.create(host.namespace)
    run_script(plan.router, wiring.cable_lines(host))
    run_script(host.namespace, wiring.host_lines(host))
    if host.role is Role.BACKEND and not plan.has_agent(host):
        run_script(host.namespace, wiring.stock_lines(host))


def unplug(plan: Plan, host: Host) -> None:
    """Cut a host off without a word: nobody sees a carrier change."""
    run_script(plan.router, [wiring.unplug_line(host)])


def plug(plan: Plan, host: Host) -> None:
    """Undo `unplug`."""
    run_script(plan.router, wiring.plug_lines(host))


def isolate(plan: Plan, host: Host) -> None:
    """Cut a host off from the fleet's memory alone: the router drops what it and the store tell each other."""
    run_script(plan.router, wiring.isolate_lines(host))


def join(plan: Plan, host: Host) -> None:
    """Undo `isolate`."""
    run_script(plan.router, wiring.join_lines(host))
