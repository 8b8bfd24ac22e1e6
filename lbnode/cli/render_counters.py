"""Counters of a data plane for people: those that have counted, each with what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def counter_lines(packets: Mapping[str, int], meanings: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each counter that is not zero, and one that names how many are."""
    seen = {name: count for name, count in packets.items() if count}
    width = max((len(str(count)) for count in seen.values()), default=0)
    names = max((len(name) for name in seen), default=0)
    for name, count in seen.items():
        yield f"{count:>{width}} {name:<{names}}  {meanings[name]}"
    if packets:
        yield f"{len(packets) - len(seen)} more counters are at zero"


def traffic_lines(kind: str, counted: Mapping[Any, Mapping[str, int]]) -> Iterator[str]:
    """Yield a line for each VIP, pool or backend that something was forwarded for."""
    for name, count in counted.items():
        if count["packets"]:
            yield f"{kind} {name}: {count['packets']} packets forwarded, {count['bytes']} bytes"
