"""The lab as the drill of the store sees it: what each node says, who is cut off, who was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TypeVar

import psutil

from lbnode.backend.contact import Contact, ContactFile
from lbnode.backend.errors import BackendError
from lbnode.lab import configs, processes
from lbnode.lab.assembly import server_of
from lbnode.lab.churn.crowd_process import CrowdProcess
from lbnode.lab.churn.judgement import Failure
from lbnode.lab.outage.report import Usage
from lbnode.lab.outage.truth import dissent, untruths
from lbnode.lab.plan import Host, Role
from lbnode.lab.running import RunningLab
from lbnode.model.members import View
from lbnode.model.status import FleetStatus
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError

RPC_S = 3.0
MIB = 1 << 20
T = TypeVar("T")


class Scene:
    """`nodes` and `agents` are who is to be cut off, `is_cut` whether they are.

    `statuses` is what each node said at the last look.
    """

    def __init__(
        self, lab: RunningLab, crowd: CrowdProcess, nodes: Collection[str], agents: Collection[str]
    ) -> None:
        self.lab = lab
        self.crowd = crowd
        self.nodes = tuple(nodes)
        self.agents = tuple(agents)
        self.is_cut = False
        self.failures: list[Failure] = []
        self.left_behind = 0
        """The epoch by which those who are cut off go on: the fleet's last one before the change."""
        self.statuses: dict[str, FleetStatus] = {}

    def look(self) -> None:
        """Ask every node; one that does not answer has said nothing."""
        self.statuses = {}
        for node in self.lab.nodes:
            try:
                self.statuses[node.name] = self.ask(node.name, lambda client: client.status())
            except RpcError:
                continue

    def ask(self, node: str, question: Callable[[FleetClient], T]) -> T:
        """Ask a node. Raises RpcError."""
        with FleetClient(configs.rpc_address(self.lab.directory(node)), RPC_S) as client:
            return question(client)

    def untrue(self) -> list[str]:
        """What was said at the last look that is not so, while `nodes` and `agents` are cut off."""
        cut_off = {*self.nodes, *self.agents}
        said = [line for status in self.statuses.values() for line in untruths(status, cut_off)]
        return [
            *said,
            *(f"{name}: its agent says that it has the store" for name in self.agents if self.reaches(name)),
        ]

    def is_local(self) -> bool:
        """True when everybody who is cut off says so, and nobody says otherwise of them."""
        return self.nodes_answer(self.nodes) and not self.untrue()

    def dissent(self) -> list[str]:
        """What at the last look spoke against a fleet that is whole and of one mind."""
        names = [node.name for node in self.lab.nodes]
        silent = [f"{name} does not answer" for name in names if name not in self.statuses]
        cut_off = [
            f"the agent of {host.name} has no store"
            for host in self.lab.plan.of(Role.BACKEND)
            if not self.reaches(host.name)
        ]
        said = [line for status in self.statuses.values() for line in dissent(status, names)]
        return [*silent, *cut_off, *said]

    def nodes_answer(self, names: Collection[str]) -> bool:
        """True when all these nodes answered at the last look."""
        return set(names) <= self.statuses.keys()

    def contact(self, backend: str) -> Contact | None:
        """What the backend's agent says of the store; None before it has said anything."""
        try:
            return ContactFile(configs.run_dir(self.lab.directory(backend))).read()
        except BackendError:
            return None

    def reaches(self, backend: str) -> bool:
        """True when the backend's agent says that it has the store."""
        contact = self.contact(backend)
        return contact is not None and contact.view is View.FLEET

    def fail(self, backend: Host) -> None:
        """SIGKILL a backend's server, and note whom it had been answering."""
        named, at = self.crowd.named(backend.name), time.monotonic()
        processes.kill(self.lab.record.processes[server_of(backend)])
        self.failures.append(Failure(backend.name, at, named))

    def usage(self) -> dict[tuple[str, int], Usage]:
        """What each daemon holds now, by name and process id."""
        daemons = {host.name for host in (*self.lab.nodes, *self.lab.plan.of(Role.BACKEND))}
        found = {}
        for name, process in self.lab.record.processes.items():
            if name in daemons and processes.is_alive(process):
                seen = psutil.Process(process.pid)
                found[name, process.pid] = Usage(seen.memory_info().rss / MIB, seen.num_fds())
        return found
