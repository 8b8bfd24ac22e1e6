"""Bringing a lab up, and changing one that is up: namespaces first, then daemons, then the fleet.

Everything that is started lives in one of the lab's namespaces from its first moment on, so a lab whose
building was interrupted at any point can be taken apart by `teardown`; an exception or Ctrl-C on the way
does that at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import yaml

from lbnode.lab import configs, network, processes, record, services, teardown
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.plan import DRILL_PORT, HTTP_PORT, Host, Plan, Role, Store
from lbnode.lab.record import LabRecord
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.shell import call_inside
from lbnode.model.epoch import BackendState
from lbnode.model.ids import IPAddress
from lbnode.rpc.errors import RpcError

ANSWER_WAIT_S = 30.0
TRAFFIC_WAIT_S = 30.0
CONNECT_WAIT_S = 1.0

Tell = Callable[[str], None]
"""Takes a line that says what is being done."""


def bring_up(plan: Plan, tell: Tell, *, keep_failed: bool = False) -> LabRecord:
    """Build a lab whole, until requests to its VIP are answered; whatever goes wrong, nothing is left of it.

    With `keep_failed`, a lab that fails stays as it is, for whoever wants to see why. Raises LabError; when a
    lab of that name is up already, it is left alone.
    """
    _check_rights()
    with record.lock(plan.lab):
        _check_free(plan.lab)
        teardown.dismantle(plan.lab)
        try:
            return _build(plan, tell)
        except BaseException:
            if not keep_failed:
                teardown.dismantle(plan.lab)
            raise


def add_node(lab: LabRecord) -> LabRecord:
    """Add one more node to a lab that is up, and start its daemon."""
    grown = replace(lab, plan=replace(lab.plan, nodes=lab.plan.nodes + 1))
    node = grown.plan.of(Role.NODE)[-1]
    network.build_host(grown.plan, node)
    return _started(grown, node.name, services.start_node(grown.plan, node))


def add_backend(lab: LabRecord) -> LabRecord:
    """Add one more backend to a lab that is up, and start its server and agent; the fleet does not know it yet."""
    grown = replace(lab, plan=replace(lab.plan, backends=lab.plan.backends + 1))
    backend = grown.plan.of(Role.BACKEND)[-1]
    network.build_host(grown.plan, backend)
    return start_agent(start_server(grown, backend), backend)


def start_node(lab: LabRecord, node: Host) -> LabRecord:
    """Start a node's daemon."""
    return _started(lab, node.name, services.start_node(lab.plan, node))


def start_agent(lab: LabRecord, backend: Host) -> LabRecord:
    """Start a backend's agent."""
    return _started(lab, backend.name, services.start_agent(lab.plan, backend))


def start_server(lab: LabRecord, backend: Host) -> LabRecord:
    """Start a backend's web server."""
    return _started(lab, server_of(backend), services.start_server(lab.plan, backend))


def start_store(lab: LabRecord, host: Host) -> LabRecord:
    """Start ZooKeeper on its host; it serves after `services.await_zookeeper`."""
    return _started(lab, host.name, services.start_zookeeper(lab.plan, host))


def restart_node(lab: LabRecord, node: Host) -> LabRecord:
    """SIGKILL a node's daemon and start it again."""
    processes.kill(lab.processes[node.name])
    return start_node(lab, node)


def restart_agent(lab: LabRecord, backend: Host) -> LabRecord:
    """SIGKILL a backend's agent and start it again."""
    processes.kill(lab.processes[backend.name])
    return start_agent(lab, backend)


def restart_server(lab: LabRecord, backend: Host) -> LabRecord:
    """SIGKILL a backend's web server and start it again: its connections are lost."""
    processes.kill(lab.processes[server_of(backend)])
    return start_server(lab, backend)


def server_of(backend: Host) -> str:
    """The name under which a backend's web server is recorded; its agent has the host's own."""
    return f"{backend.name}.server"


def _build(plan: Plan, tell: Tell) -> LabRecord:
    lab = LabRecord(plan)
    record.save(lab)
    tell(f"network: router, clients: {plan.clients}, nodes: {plan.nodes}, backends: {plan.backends}")
    network.build_router(plan)
    for host in plan.hosts():
        network.build_host(plan, host)
    tell("router: BIRD" + (", and ZooKeeper" if plan.store is Store.ZOOKEEPER else ""))
    stores = {host: services.start_zookeeper(plan, host) for host in plan.of(Role.STORE)}
    services.start_router(plan)
    for host, process in stores.items():
        services.await_zookeeper(host, process)
        lab = _started(lab, host.name, process)
    tell("backends: web servers and lbbackend; nodes: lbnode")
    for backend in plan.of(Role.BACKEND):
        lab = start_server(lab, backend)
        if plan.has_agent(backend):
            lab = start_agent(lab, backend)
    for node in plan.of(Role.NODE):
        lab = start_node(lab, node)
    _apply_fleet(RunningLab(lab), tell)
    _await_traffic(RunningLab(lab), tell)
    lab = replace(lab, ready=True)
    record.save(lab)
    return lab


def _started(lab: LabRecord, name: str, process: processes.Process) -> LabRecord:
    lab = lab.started(name, process)
    record.save(lab)
    return lab


def _apply_fleet(lab: RunningLab, tell: Tell) -> None:
    """Apply fleet.yaml through the first node, as soon as it and the fleet's memory answer."""
    text = yaml.safe_dump(configs.fleet_config(lab.plan), sort_keys=False)
    (record.directory(lab.plan.lab) / "fleet.yaml").write_text(text)
    first = lab.nodes[0]
    tell(f"fleet: apply fleet.yaml through {first.name}")
    _poll(lambda: _apply(lab, first, text), ANSWER_WAIT_S, lab, f"apply fleet.yaml through {first.name}")


def _apply(lab: RunningLab, node: Host, text: str) -> str:
    """Try once; return why it failed, or nothing."""
    try:
        with lab.client(node.name) as client:
            client.apply(text)
    except RpcError as error:
        return str(error)
    return ""


def _await_traffic(lab: RunningLab, tell: Tell) -> None:
    """Wait until every node gets traffic and every backend answers through the VIP."""
    tell("waiting until every node announces and every backend serves")
    _poll(lambda: _why_not_ready(lab), TRAFFIC_WAIT_S, lab, "carry traffic")


def _why_not_ready(lab: RunningLab) -> str:
    for vip in lab.plan.vips:
        missing = {node.name for node in lab.nodes} - lab.next_hops(vip)
        if missing:
            return f"the router has no route to {vip} through {', '.join(sorted(missing))}"
    try:
        with lab.client(lab.nodes[0].name) as client:
            status = client.status()
    except RpcError as error:
        return str(error)
    if not status.agree:
        return "; ".join(status.disagreements) or "the nodes do not agree yet"
    idle = [slot for pool in status.pools for slot in pool.slots if slot.state is not BackendState.ACTIVE]
    if idle or any(pool.offered is not None for pool in status.pools):
        return f"not yet active: {', '.join(str(slot.backend) for slot in idle) or 'the epoch on offer'}"
    return _why_no_answer(lab)


def _why_no_answer(lab: RunningLab) -> str:
    """Connect to each port of each VIP, as a client would."""
    for vip in lab.plan.vips:
        for port in (HTTP_PORT, DRILL_PORT):
            try:
                call_inside(lab.plan.namespace("client"), partial(_connect, vip, port))
            except OSError as error:
                return f"connect to {vip} port {port}: {error}"
    return ""


def _connect(vip: IPAddress, port: int) -> None:
    socket.create_connection((str(vip), port), CONNECT_WAIT_S).close()


def _poll(why_not: Callable[[], str], timeout_s: float, lab: RunningLab, what: str) -> None:
    """Try until `why_not()` has nothing to say. Raises LabError with its last words."""
    said = ""

    def succeeded() -> bool:
        nonlocal said
        _check_alive(lab)
        said = why_not()
        return not said

    try:
        wait_until(succeeded, timeout_s, what)
    except OverdueError as error:
        raise LabError(f"{error}: {said}: {_last_words(lab)}") from None


def _check_alive(lab: RunningLab) -> None:
    """Raise LabError as soon as a daemon has ended: no use in waiting for it."""
    for name, process in lab.record.processes.items():
        if not processes.is_alive(process):
            raise LabError(f"{name}: it has ended: {processes.tail(process.log)}")


def _last_words(lab: RunningLab) -> str:
    first = lab.nodes[0].name
    return f"{first} says: {processes.tail(lab.record.processes[first].log, lines=3)}"


def _check_rights() -> None:
    if os.geteuid() != 0:
        raise LabError("lab up: network namespaces and XDP need root: use sudo")


def _check_free(lab: str) -> None:
    try:
        ready = record.load(lab).ready
    except LabError:
        ready = False
    if ready:
        raise LabError(f"lab {lab}: it is up already: lbctl lab down --name {lab}, or choose another --name")
