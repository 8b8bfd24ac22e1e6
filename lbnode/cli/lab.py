"""`lbctl lab`: a real small internet on this machine, to try things and to put them to the test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from lbnode.cli import lab_drill
from lbnode.cli.drilling import reported
from lbnode.cli.lab_drill import DEFAULT_NAME, Name
from lbnode.lab import configs, record, shell, teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.demo import FLOWS, run_demo
from lbnode.lab.errors import LabError
from lbnode.lab.plan import VIP, Plan, Setting, Store
from lbnode.lab.running import RunningLab
from lbnode.lab.screen import Screen

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""A real small internet in network namespaces of this machine: clients, a router, nodes, backends.

    Needs root. Exit status: 0 done · 1 flows broke (drill) · 2 nothing was proved (drill), or wrong usage ·
    3 the lab could not do it.
    """,
)
app.add_typer(lab_drill.app, name="drill")


Settings = list[str] | None

AgentSettings = Annotated[
    Settings,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of every agent: second_chance=false."),
]
PoolSettings = Annotated[
    Settings, typer.Option("--pool", metavar="KEY=VALUE", help="A setting of the pool: flow_table=true.")
]
WithoutAgent = Annotated[
    int,
    typer.Option(
        "--backends-without-agent",
        help="So many of the backends, from b1 on, have a plain GRE decapsulation and no lbbackend.",
    ),
]
DualStack = Annotated[
    bool, typer.Option("--dual-stack", help="VIPs and tunnels of IPv4 and of IPv6, in all four mixes.")
]
KeepFailed = Annotated[
    bool,
    typer.Option("--keep-failed", help="If it fails, leave it as it is: logs are in /run/evenkeel/labs."),
]
PoolTable = Annotated[str, typer.Option(help="The pool's tables: `maglev` for a plain rebuild, to compare.")]


@app.command()
def up(
    name: Name = DEFAULT_NAME,
    nodes: Annotated[int, typer.Option(help="Load balancers.")] = 3,
    backends: Annotated[int, typer.Option(help="Servers.")] = 4,
    clients: Annotated[int, typer.Option(help="Clients.")] = 1,
    store: Annotated[Store, typer.Option(help="Where the fleet keeps its memory.")] = Store.ZOOKEEPER,
    table: PoolTable = "",
    settings: AgentSettings = None,
    pool: PoolSettings = None,
    without_agent: WithoutAgent = 0,
    dual_stack: DualStack = False,
    keep_failed: KeepFailed = False,
) -> None:
    """Build a lab and apply a fleet to it.

    Example: `lbctl lab up`, then `lbctl lab exec client -- curl http://192.0.2.10/`
    """
    console = Console()
    with reported(), Screen(console) as screen:
        plan = Plan(
            name,
            nodes,
            backends,
            clients,
            store,
            table,
            agent_settings=read_settings("--set", settings or ()),
            pool_settings={**read_settings("--pool", pool or ())},
            without_agent=without_agent,
            dual_stack=dual_stack,
        )
        lab = RunningLab(bring_up(plan, screen.tell, keep_failed=keep_failed))
    console.print(f"lab {name} is up. Try:", highlight=False)
    for line in _first_steps(lab, name):
        console.print(f"  {line}", highlight=False, soft_wrap=True)


def _first_steps(lab: RunningLab, name: str) -> tuple[str, ...]:
    """Commands to begin with in a lab that was just built."""
    option = "" if name == DEFAULT_NAME else f" --name {name}"
    return (
        f"lbctl lab exec{option} client -- curl http://{VIP}/",
        f"lbctl --node {configs.rpc_address(lab.directory(lab.nodes[0].name))} status",
        f"lbctl lab drill nodes{option}",
        f"lbctl lab down{option}",
    )


def read_settings(option: str, written: Iterable[str]) -> dict[str, Setting]:
    """Return the `key=value` settings of `option` with the values read as YAML. Raises LabError."""
    found: dict[str, Setting] = {}
    for setting in written:
        key, equals, value = setting.partition("=")
        read = yaml.safe_load(value) if equals else None
        if not key or not isinstance(read, (str, int, float, bool)):
            raise LabError(f"{option} {setting}: it must be key=value, like flow_table=true")
        found[key] = read
    return found


@app.command()
def down(
    name: Name = DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="Every lab of this machine.")] = False,
) -> None:
    """Take a lab apart, whatever state it is in. Taking apart what is not there is fine."""
    with reported():
        names = teardown.known() if everything else [name]
        for lab in names:
            print(f"lab {lab}: {'taken apart' if teardown.take_down(lab) else 'was not there'}")


@app.command("list")
def list_labs(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the labs of this machine."""
    labs = [_describe(name) for name in teardown.known()]
    if as_json:
        print(json.dumps(labs))
        return
    shown = Table("lab", "state", "nodes", "backends", "clients", "store", box=None)
    for lab in labs:
        shown.add_row(*(str(value) for value in lab.values()))
    Console().print(shown if labs else "no lab is up: lbctl lab up", highlight=False)


@app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    host: Annotated[str, typer.Argument(help="client, client1, n1, b1, zk, router, …")],
    command: Annotated[list[str], typer.Argument(help="What to run there, after `--`.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a command on a host of a lab; its exit status is that of the command.

    Examples: `lbctl lab exec client -- curl -s http://192.0.2.10/`, `lbctl lab exec router -- ip route`
    """
    with reported():
        words = command[1:] if command[0] == "--" else command
        shell.become(record.load(name).plan.namespace(host), words)


@app.command()
def demo(flows: Annotated[int, typer.Option(min=1, help="TCP connections.")] = FLOWS) -> None:
    """The main job once, explained: build a lab, drill its nodes, take it apart (`make demo`)."""
    with reported():
        status = run_demo(Console(), flows)
    raise typer.Exit(status)


def _describe(name: str) -> dict[str, str | int]:
    """A lab as `list` shows it; one that was never finished has no sizes to show."""
    try:
        lab = record.load(name)
    except LabError:
        return {"lab": name, "state": "remains", "nodes": "", "backends": "", "clients": "", "store": ""}
    plan = lab.plan
    return {
        "lab": name,
        "state": "up" if lab.ready else "half built",
        "nodes": plan.nodes,
        "backends": plan.backends,
        "clients": plan.clients,
        "store": plan.store.value,
    }
