"""`lbctl lab drill`: put a fleet to the test, and tell what its connections saw."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lbnode.cli import drilling
from lbnode.cli.drilling import Show, reported
from lbnode.lab.changes.drill import ChangesOrder, run_changes
from lbnode.lab.changes.screen import ChangesScreen, ChangesSilence
from lbnode.lab.changes.screen import closing_line as changes_line
from lbnode.lab.changes.screen import tables as changes_tables
from lbnode.lab.churn.drill import ChurnOrder, run_churn
from lbnode.lab.churn.life import LONGEST_S
from lbnode.lab.churn.schedule import Kind
from lbnode.lab.churn.screen import ChurnScreen, ChurnSilence, closing_lines, tables
from lbnode.lab.demo import FLOWS
from lbnode.lab.drill import run_drill
from lbnode.lab.errors import LabError
from lbnode.lab.events import node_events
from lbnode.lab.outage.drill import OutageOrder, run_outage
from lbnode.lab.outage.report import Scope
from lbnode.lab.outage.screen import OutageScreen, OutageSilence
from lbnode.lab.outage.screen import closing_lines as outage_lines
from lbnode.lab.outage.screen import tables as outage_tables
from lbnode.lab.plan import Plan
from lbnode.lab.report import DrillReport
from lbnode.lab.running import RunningLab
from lbnode.lab.screen import Screen, Silence, closing_line, table

DEFAULT_NAME = "demo"
CHURN_NODES, CHURN_BACKENDS = 4, 6
STORE_NODES, STORE_BACKENDS = 2, 4

NODES: Show[Screen, Silence, DrillReport] = Show(
    Screen, Silence, lambda report: [table(report)], lambda report: [closing_line(report)]
)
CHURN = Show(ChurnScreen, ChurnSilence, tables, closing_lines)
CHANGES = Show(ChangesScreen, ChangesSilence, changes_tables, lambda report: [changes_line(report)])
STORE = Show(OutageScreen, OutageSilence, outage_tables, outage_lines)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Let things happen to a fleet while connections run, and tell what the connections saw.

    Works on the lab that is up (what was added stays in it), or builds one for the drill.

    Exit status: 0 no flow broke · 1 flows broke · 2 nothing was proved · 3 the lab failed.
    """,
)
Name = Annotated[str, typer.Option("--name", "-n", help="Which lab: several live side by side.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as one line of JSON, and nothing else.")]


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


@app.command()
def nodes(
    name: Name = DEFAULT_NAME,
    flows: Annotated[int, typer.Option(min=1, help="TCP connections.")] = FLOWS,
    as_json: AsJson = False,
) -> None:
    """Let nodes come and go, one after the other.

    Exit status 2: no flow changed node.
    """

    def drill(lab: RunningLab, audience: Screen | Silence) -> DrillReport:
        return run_drill(lab, node_events(lab), flows, audience)

    drilling.run(Plan(name), NODES, drill, as_json=as_json)


@app.command()
def churn(
    name: Name = DEFAULT_NAME,
    flows: Annotated[int, typer.Option(min=1, help="TCP connections that are alive at any time.")] = 2000,
    events: Annotated[int, typer.Option(min=1, help="How many things happen.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events and the same flows.")] = 1,
    pace: Annotated[float, typer.Option(min=0.5, help="Seconds from one event to the next.")] = 3.0,
    longest: Annotated[
        float, typer.Option(min=5.0, help="Seconds that a connection lives at most.")
    ] = LONGEST_S,
    only: Annotated[
        list[Kind] | None, typer.Option(help="Let only this happen; may be said several times.")
    ] = None,
    second_chance: Annotated[
        Switch, typer.Option(help="off: backends pass nothing on. For a lab that the drill builds.")
    ] = Switch.ON,
    table_: Annotated[
        str, typer.Option("--table", help="maglev: plain rebuilds. For a lab that the drill builds.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Let nodes, backends and the fleet's memory come, go, fail and be replaced, all at once.

    Connections live 5 to 60 seconds and are replaced as they end. Each is one socket and ends with an exchange
    that is checked byte by byte. Those of a backend that the drill lets fail are named before.

    Exit status 2: too few flows changed node or owner, or a kind of event had no effect.

    Example: `lbctl lab drill churn --flows 2000 --events 60 --seed 7 --json`
    """
    order = ChurnOrder(flows, events, seed, pace, longest, tuple(only or Kind))
    settings = {"second_chance": False} if second_chance is Switch.OFF else {}
    plan = Plan(name, CHURN_NODES, CHURN_BACKENDS, table=table_, agent_settings={**settings})
    with reported():
        _check_buildable(plan)
    drilling.run(plan, CHURN, lambda lab, audience: run_churn(lab, order, audience), as_json=as_json)


@app.command()
def changes(
    name: Name = DEFAULT_NAME,
    nodes: Annotated[int, typer.Option(min=1, help="Load balancers of a lab that the drill builds.")] = 8,
    backends: Annotated[int, typer.Option(min=3, help="Servers of a lab that the drill builds.")] = 8,
    changes: Annotated[int, typer.Option(min=1, help="How many changes.")] = 100,
    pause: Annotated[
        float, typer.Option(min=0.0, help="Seconds from a change's arrival everywhere to the next.")
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Change the fleet again and again, and tell how long each change took to reach every kernel.

    Weights go up and down by `apply`, backends are drained and undrained: changes that nothing holds. Each is asked
    of another node by a gRPC client that is open already, and timed by a process that reads the kernels' maps.

    Exit status 1: a change did not reach every kernel.
    """
    order = ChangesOrder(changes, pause)
    plan = Plan(name, nodes, backends)
    drilling.run(plan, CHANGES, lambda lab, audience: run_changes(lab, order, audience), as_json=as_json)


@app.command()
def store(
    name: Name = DEFAULT_NAME,
    cut: Annotated[float, typer.Option(min=20.0, help="Seconds without the store.")] = 120.0,
    scope: Annotated[
        Scope, typer.Option(help="one: a node and an agent are cut off · all: everybody is.")
    ] = Scope.ONE,
    window: Annotated[
        float | None,
        typer.Option(min=1.0, help="The pool's affinity window in seconds; a third of the cut."),
    ] = None,
    flows: Annotated[int, typer.Option(min=1, help="TCP connections that are alive at any time.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same flows.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Cut a node and an agent, or everybody, off from the fleet's memory, and see that all goes on.

    Meanwhile a node and an agent are restarted, a change is asked for, a backend dies. Every second everybody is asked
    who is in reach of the store. After the return all must agree.

    Exit status 1: a flow broke, a status said what was not so, or they did not agree again.

    Example: `lbctl lab drill store --scope all --cut 3600`
    """
    order = OutageOrder(scope, cut, cut / 3 if window is None else window, flows, seed)
    plan = Plan(name, STORE_NODES, STORE_BACKENDS)
    drilling.run(plan, STORE, lambda lab, audience: run_outage(lab, order, audience), as_json=as_json)


def _check_buildable(plan: Plan) -> None:
    """What only a new lab can have must not be asked of one that is up."""
    if drilling.is_up(plan.lab) and (plan.table or plan.agent_settings):
        raise LabError(
            f"lab {plan.lab}: --second-chance and --table are for a lab that the drill builds: "
            "choose another --name, or say them to lbctl lab up (--set second_chance=false, --table)"
        )
