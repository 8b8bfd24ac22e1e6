"""`python -m tests.bench`: nanoseconds a packet and milliseconds an epoch, as a table and then as JSON lines.

Needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN and CAP_SYS_NICE) and an otherwise quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import chain

from tests.bench.admission import AdmissionCost, admission_costs
from tests.bench.agent import agent_costs
from tests.bench.epochs import EpochCost, epoch_costs
from tests.bench.mounts import keep_mounts_private
from tests.bench.packets import PacketCost, packet_costs
from tests.bench.sizes import SizeCost, size_costs

PACKET_HEAD = f"{'program':<24}{'traffic':<12}{'net ns':>8}{'floor ns':>10}{'x floor':>9}"
EPOCH_NAMES = ("build, first", "build, next", "stage", "switch", "epoch to kernel")
EPOCH_HEAD = f"{'backends, ms':<14}" + "".join(f"{name:>17}" for name in EPOCH_NAMES)
ADMISSION_HEAD = f"{'admission':<44}{'held':>8}{'ms':>8}"


SIZE_HEAD = "1,000 VIPs, 10,000 backends in 100 pools"


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON lines alone")
    only_json = parser.parse_args().json
    keep_mounts_private()
    lines: list[dict[str, object]] = []
    packets = chain([PACKET_HEAD], packet_costs(), agent_costs())
    epochs = chain(["", EPOCH_HEAD], epoch_costs(), ["", ADMISSION_HEAD], admission_costs())
    sizes = chain(["", SIZE_HEAD], size_costs())
    for cost in chain(packets, epochs, sizes):
        if not isinstance(cost, str):
            lines.append(as_json(cost))
        if not only_json:
            print(cost if isinstance(cost, str) else as_row(cost), flush=True)
    print(
        "\n".join(json.dumps(line) for line in lines)
        if only_json
        else "\n" + "\n".join(map(json.dumps, lines))
    )
    return 0


def as_row(cost: PacketCost | EpochCost | AdmissionCost | SizeCost) -> str:
    """Return a line of the table."""
    if isinstance(cost, SizeCost):
        return f"{cost.what:<52}{cost.amount:>10.2f} {cost.unit}"
    if isinstance(cost, AdmissionCost):
        return f"{cost.what:<44}{cost.held:>8}{cost.milliseconds:>8.1f}"
    if isinstance(cost, PacketCost):
        numbers = f"{cost.net_ns:>8.1f}{cost.floor_ns:>10.1f}{cost.ratio:>9.1f}"
        return f"{cost.program:<24}{cost.traffic:<12}{numbers}"
    times = (cost.build_first_ms, cost.build_next_ms, cost.stage_ms, cost.switch_ms, cost.epoch_to_kernel_ms)
    return f"{cost.backends:<14}" + "".join(f"{each:>17.2f}" for each in times)


def as_json(cost: PacketCost | EpochCost | AdmissionCost | SizeCost) -> dict[str, object]:
    """Return the record of one measurement."""
    if isinstance(cost, SizeCost):
        return {**_rounded(asdict(cost)), "what": "size", "of": cost.what}
    if isinstance(cost, AdmissionCost):
        return {**_rounded(asdict(cost)), "what": "admission", "of": cost.what}
    if isinstance(cost, PacketCost):
        return {"what": "packet", **_rounded(asdict(cost)), "ratio_to_floor": round(cost.ratio, 2)}
    return {
        "what": "epoch",
        **_rounded(asdict(cost)),
        "epoch_to_kernel_ms": round(cost.epoch_to_kernel_ms, 3),
    }


def _rounded(record: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in record.items()}


if __name__ == "__main__":
    sys.exit(main())
