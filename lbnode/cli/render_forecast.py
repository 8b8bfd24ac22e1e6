"""What a change would do to the flows, pool by pool: buckets that move, what waits, what breaks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import typer
from rich.console import Console
from rich.text import Text

from lbnode.cli.render import STYLES
from lbnode.cli.render_flows import count_flows, describe_waits
from lbnode.model.codec import encode
from lbnode.model.forecast import Broken, Forecast, PoolForecast, Share


def print_forecast(console: Console, forecast: Forecast, *, as_json: bool = False) -> None:
    """Print the differences and, for each pool, what becomes of its flows."""
    if as_json:
        typer.echo(json.dumps(json.loads(encode(forecast))))
        return
    for difference in forecast.differences:
        console.print(Text(str(difference), style=STYLES[difference.change]), soft_wrap=True)
    for warning in forecast.warnings:
        console.print(Text(f"warning: {warning}", style="bold yellow"), soft_wrap=True)
    if not forecast.differences:
        pending = any(pool.moved or pool.held for pool in forecast.pools)
        console.print(
            "nothing to change" + (" but what is wanted already and still to come:" if pending else "")
        )
    for pool in forecast.pools:
        for line in _pool_lines(pool):
            console.print(line, soft_wrap=True)


def _pool_lines(pool: PoolForecast) -> Iterator[Text]:
    share = 100 * pool.moved / pool.table_size
    headline = f"pool {pool.pool}: {pool.moved} of {pool.table_size} buckets move ({share:.1f} %)"
    yield Text(headline, style="bold")
    for one in pool.shares:
        if one.gained or one.lost:
            yield Text(f"  {_describe_share(one, pool.table_size)}")
    if pool.moved:
        yield Text(f"  second chances: {_second_chances(pool.second_chances)}")
    for held in pool.held:
        waits = describe_waits(held.waits_for)
        yield Text(f"  held: {held.what}: would wait for {waits}", style="cyan")
    yield from _broken_lines("breaks", pool.broken)
    yield from _broken_lines("breaks with --force", pool.broken_by_force)


def _describe_share(share: Share, size: int) -> str:
    before, after = 100 * share.before / size, 100 * share.after / size
    moves = [f"gains {share.gained}"] if share.gained else []
    moves += [f"loses {share.lost}"] if share.lost else []
    return f"{share.backend}: {before:.1f} % → {after:.1f} %, {' and '.join(moves)} buckets"


def _second_chances(flows: int | None) -> str:
    if flows is None:
        return "unknown: no agent has answered how many flows it holds"
    return f"{count_flows(flows)} will reach their backend by way of another one"


def _broken_lines(label: str, broken: Iterable[Broken]) -> Iterator[Text]:
    for one in broken:
        flows = "an unknown number of flows" if one.flows is None else count_flows(one.flows)
        yield Text(f"  {label}: {flows} on {one.backend}: {one.why}", style="bold red")
