"""What figures are meant to be, and how one compares with another: goals stand beside what was measured.

Goals in ns are net of the driver, for a floor of 7.5 ns by another method (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

NOT_VIP_NS = dict.fromkeys(("no VIP", "no VIP, tag"), 15.0)
NODE_NS = {"1 flow": 35.0, "64k flows": 40.0, "1M flows": 40.0, "SYN flood": 40.0, **NOT_VIP_NS}
IPV6_NS = dict.fromkeys(("1 flow", "64k flows", "SYN flood"), 45.0) | NOT_VIP_NS
PROGRAMS_NS = {
    "node": NODE_NS,
    "IPv6 in IPv4": IPV6_NS,
    "IPv6 in IPv6": IPV6_NS,
    "node, siphash": {"1 flow": 50.0, "64k flows": 55.0},
}
KEYED_NS = 5.0
"""What a bucket with alternates may cost the node more."""
IN_SYNC_NS, LOOK_UP_NS = 20.0, 50.0
"""What the agent may cost more than taking the outer header off."""
OVER_NFTABLES, OVER_FORWARDING = 5.5, 3.0
"""How many times their packets a second the node is to forward, end to end."""
FLAT = 0.9
"""Least share of its best rate that the node keeps whatever the number of flows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure beside its goal, which is the least or the most that it is to be."""

    what: str
    value: float
    goal: float
    at_least: bool
    unit: str = ""

    @property
    def is_reached(self) -> bool:
        """Whether the goal is."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def row(self) -> str:
        """A line of the table."""
        bound = f"{'≥' if self.at_least else '≤'} {self.goal:g} {self.unit}"
        return f"{self.what:<58}{self.value:>8.2f} {self.unit:<3} goal {bound}{_missed(self.is_reached)}"

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""
        return {**asdict(self), "what": "comparison", "of": self.what, "is_reached": self.is_reached}


def _missed(is_reached: bool) -> str:
    return "" if is_reached else "  MISSED"
