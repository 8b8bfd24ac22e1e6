"""The main job, once, for somebody who has never seen it: `make demo` (`python -m lbnode.lab.demo`).

Builds a lab, shows the fleet's status, drills the nodes, prints what happened, leaves nothing behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from lbnode.lab import configs, record, teardown
from lbnode.lab.assembly import Tell, bring_up
from lbnode.lab.drill import run_drill
from lbnode.lab.errors import LabError
from lbnode.lab.events import node_events
from lbnode.lab.interruption import raised_as_interrupts
from lbnode.lab.plan import Plan
from lbnode.lab.running import RunningLab
from lbnode.lab.screen import Screen, table
from lbnode.lab.shell import environment

LAB = "makedemo"
FLOWS = 500
FAILED = 3
"""Exit status when the lab itself failed; those of `report.Verdict` come before."""
INTRODUCTION = (
    "[bold]evenkeel[/]: a fleet of load balancers, here on one machine, each in a network namespace of its "
    "own. Clients connect to one virtual address. A router (BIRD, ECMP) spreads their packets over the "
    "nodes, the nodes (XDP) over the backends, and the backends answer the clients directly. Now hundreds "
    "of connections will run, each one TCP socket from beginning to end, while nodes come and go.\n"
)


@contextmanager
def temporary_lab(plan: Plan, tell: Tell) -> Iterator[RunningLab]:
    """A lab for as long as the context lasts."""
    lab = RunningLab(bring_up(plan, tell))
    try:
        yield lab
    finally:
        teardown.take_down(plan.lab)


def run_demo(console: Console, flows: int = FLOWS) -> int:
    """Run the demo; return the exit status: 0 held, 1 broken, 2 nothing proved. Raises LabError."""
    console.print(INTRODUCTION)
    console.print("[bold]Building[/]")
    with _only_demo(), Screen(console) as screen, temporary_lab(Plan(LAB), screen.tell) as lab:
        console.print("\n[bold]The fleet[/], as any of its nodes tells it (lbctl status)\n")
        console.print(_status(lab), highlight=False, markup=False)
        console.print("[bold]The drill[/]")
        report = run_drill(lab, node_events(lab), flows, screen)
        console.print()
        console.print(table(report))
        screen.tell("taking the lab apart")
    console.print(f"demo: {report.flows} flows, {report.broken} broken", highlight=False)
    return report.verdict


@contextmanager
def _only_demo() -> Iterator[None]:
    """Hold the demo's name; what a killed demo left of its lab goes first."""
    with ExitStack() as stack:
        try:
            stack.enter_context(record.lock(f"{LAB}.demo"))
        except LabError:
            raise LabError("another demo is running on this machine: wait for its end") from None
        teardown.take_down(LAB)
        yield


def _status(lab: RunningLab) -> str:
    """What `lbctl status` prints."""
    command = [
        str(Path(sys.executable).with_name("lbctl")),
        "--node",
        configs.rpc_address(lab.directory(lab.nodes[0].name)),
        "status",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    return ended.stdout or ended.stderr


def main() -> None:
    """Run the demo on the terminal."""
    console = Console()
    try:
        with raised_as_interrupts():
            status = run_demo(console)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        status = FAILED
    except KeyboardInterrupt:
        print("demo: interrupted; the lab is gone", file=sys.stderr)
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
