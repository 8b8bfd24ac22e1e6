"""Draw the pictures of docs/affinity.md: `python -m ring.simulate --json | python docs/images/draw.py`.

Reads a study from standard input and writes SVG and PNG beside this file; the same study gives the same SVG.
Needs matplotlib (`pip install '.[pictures]'`), which nothing else here does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ring.slots import Slot
from ring.table import Table, build

HERE = Path(__file__).parent
COLOURS = {
    "Maglev rebuilt": "#c44e52",
    "minimal stateful": "#dd8452",
    "rendezvous": "#8c8c8c",
    "home + failover": "#2f6f9f",
}
BACKENDS = ("#ffffff", "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860")
SMALL, SEED = 31, 4
FLOOR = 0.0005
"""Percent: where the logarithmic axis begins; no loss at all is written as 0."""

Rows = Sequence[dict[str, Any]]


def main() -> None:
    rows = json.load(sys.stdin)["rows"]
    mpl.rcParams.update({"svg.hashsalt": "evenkeel", "font.size": 9, "axes.spines.top": False})
    mpl.rcParams["axes.spines.right"] = False
    save(draw_epochs(), "epochs")
    save(draw_lost(rows), "lost")
    save(draw_price(rows), "price")


def save(figure: Figure, name: str) -> None:
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})
    figure.savefig(HERE / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


# ---- what was measured ----


def values(rows: Rows, scenario: str, table: str, admission: int | None) -> list[dict[str, Any]]:
    sought = (scenario, table, admission)
    return [row["outcome"] for row in rows if (row["scenario"], row["table"], row["admission"]) == sought]


def draw_lost(rows: Rows) -> Figure:
    """Flows lost without admission: a panel a scenario, a group a K, a bar a table; whiskers span the seeds."""
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    figure, grid = plt.subplots(2, 3, figsize=(10, 5.6), sharey=True, layout="constrained")
    for axes, scenario in zip(grid.flat, scenarios, strict=True):
        axes.set(title=scenario, yscale="log", xlim=(-0.5, 2.5), ylim=(FLOOR, 100))
        axes.set_xticks((0, 1, 2), ("K = 0", "K = 1", "K = 2"))
        for place, table in enumerate(COLOURS):
            runs = values(rows, scenario, table, None)
            for k in (0, 1, 2):
                shares = [100 * run["lost"][k] / run["flows"] for run in runs]
                draw_share(axes, k + (place - 1.5) * 0.21, shares, COLOURS[table])
    for axes in grid[:, 0]:
        axes.set_ylabel("flows lost, %")
    figure.suptitle("Flows lost when nothing is held, by the number K of alternates kept")
    figure.legend(handles=keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_share(axes: Axes, place: float, shares: Sequence[float], colour: str) -> None:
    mean = float(np.mean(shares))
    if mean < FLOOR:
        axes.text(place, FLOOR * 1.2, "≈0" if mean else "0", ha="center", color=colour, weight="bold")
        return
    whiskers = [[mean - max(min(shares), FLOOR)], [max(shares) - mean]]
    axes.bar(place, mean, 0.19, yerr=np.maximum(whiskers, 0), color=colour, error_kw={"lw": 0.8})


def draw_price(rows: Rows) -> Figure:
    """What admission with K = 2 costs: by how much longer each script takes, in lives of a flow."""
    lives = {row["scenario"]: row["life"] for row in rows}
    figure, axes = plt.subplots(figsize=(10, 3.6), layout="constrained")
    for place, table in enumerate(COLOURS):
        for group, (scenario, life) in enumerate(lives.items()):
            draw_delay(
                axes, group + (place - 1.5) * 0.21, values(rows, scenario, table, 2), life, COLOURS[table]
            )
    axes.set_xticks(range(len(lives)), list(lives))
    axes.set(ylabel="longer by … lives of a flow")
    axes.set_title("What admission costs: no flow is lost, the script takes longer (K = 2)")
    axes.set_xlim(-0.6, len(lives) - 0.4)
    figure.legend(handles=keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_delay(axes: Axes, place: float, runs: Rows, life: float, colour: str) -> None:
    if any(run["never"] for run in runs):
        axes.text(place, 0.3, "never", rotation=90, ha="center", color=colour)
        return
    longer = [run["longer"] / life for run in runs]
    mean = float(np.mean(longer))
    whiskers = [[mean - min(longer)], [max(longer) - mean]]
    axes.bar(place, mean, 0.19, yerr=whiskers, color=colour, error_kw={"lw": 0.8})
    if not mean:
        axes.text(place, 0.15, "0", ha="center", color=colour, weight="bold")


def keys() -> list[Patch]:
    return [Patch(color=colour, label=table) for table, colour in COLOURS.items()]


# ---- how it works: real tables of a small pool, one column a bucket ----


def draw_epochs() -> Figure:
    """Owners and alternates, epoch by epoch."""
    epochs = story()
    figure, grid = plt.subplots(len(epochs), 1, figsize=(10, 6.2), layout="constrained")
    history: list[list[Slot]] = []
    for axes, (title, slots) in zip(grid, epochs, strict=True):
        draw_table(axes, title, build(SMALL, SEED, slots, history))
        history.append(slots)
    figure.suptitle(f"A pool of six backends and {SMALL} buckets: owners, and the alternates below them")
    backends = [Patch(color=colour, label=f"b{n}") for n, colour in enumerate(BACKENDS) if n]
    figure.legend(handles=backends, loc="outside lower center", ncols=6, frameon=False)
    return figure


def story() -> list[tuple[str, list[Slot]]]:
    full = [Slot(number, 1, number + 1) for number in range(6)]

    def without(*backends: int) -> list[Slot]:
        return [Slot(s.number, s.weight, s.backend, s.backend not in backends) for s in full]

    return [
        ("1   all six at home", full),
        ("2   b2 drains: only its own buckets move, and it becomes their first alternate", without(2)),
        ("3   b5 drains too; where b5 had stood in for b2 there are two alternates now", without(2, 5)),
        ("4   b2 is back: it gets its own buckets, and one of b5 that it deputises for", without(5)),
        ("5   b5 is back: the owners of epoch 1", full),
    ]


def draw_table(axes: Axes, title: str, table: Table) -> None:
    ranks = np.stack([table.owners, table.first, table.second]).tolist()
    image = np.array([[mpl.colors.to_rgb(BACKENDS[backend]) for backend in rank] for rank in ranks])
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_yticks((0, 1, 2), ("owner", "first", "second"), fontsize=7)
    axes.set_xticks(np.arange(-0.5, SMALL), minor=True)
    axes.set_yticks(np.arange(-0.5, 3), minor=True)
    axes.grid(which="minor", color="#dddddd", lw=0.8)
    axes.tick_params(which="both", length=0, labelbottom=False)


if __name__ == "__main__":
    main()
