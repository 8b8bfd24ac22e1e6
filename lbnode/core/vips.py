"""Which VIPs lose their flows when the fleet changes, and whether two nodes have the same ones. Pure.

Decides for each VIP whether its packets still lead to the same pool: a VIP may end, point elsewhere, or lose a part to
a new one that goes before it. Does not decide what of it may be done (`lbnode.core.control`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from lbnode.model.fleet import DesiredFleet, Vip


def lost_flows(old: DesiredFleet, new: DesiredFleet) -> Iterator[tuple[Vip, str]]:
    """Yield the VIPs of `old` whose flows break, all or some, and what happens to each: "ends", "loses …"."""
    known = {(vip.key, vip.pool) for vip in old.vips}
    arrived = [vip for vip in new.vips if (vip.key, vip.pool) not in known]
    for vip in old.vips:
        heir = _heir(vip, new)
        if heir is None:
            yield vip, "ends"
        elif heir.pool != vip.pool:
            yield vip, f"moves to pool {heir.pool}"
        else:
            for taker in arrived:
                if taker.pool != vip.pool and _goes_before(taker, vip):
                    yield vip, f"loses {taker.key} to pool {taker.pool}"


def _heir(vip: Vip, new: DesiredFleet) -> Vip | None:
    """Who takes all packets of `vip` that nobody goes before to: itself, or what lies behind it."""
    covering = (other for other in new.vips if other.key.covers(vip.key))
    return max(covering, key=lambda other: other.key.precedence, default=None)


def _goes_before(taker: Vip, vip: Vip) -> bool:
    return taker.key.precedence > vip.key.precedence and taker.key.overlaps(vip.key)


def digest_of(vips: Iterable[Vip]) -> str:
    """Return 16 hexadecimal digits that tell one set of VIPs, whatever its order, from all others."""
    lines = sorted(f"{vip.key} {vip.pool} {vip.wrong_port.value}" for vip in vips)
    return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
