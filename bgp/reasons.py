"""Why a session is down, in an operator's words, from what ExaBGP says of it.

ExaBGP names a NOTIFICATION by its two numbers (RFC 4271 §4.5, RFC 4486 for code 6) and everything that
happened to the connection itself by one phrase.
"""

from __future__ import annotations

import re

_NOTIFICATION = re.compile(r"notification (sent|received) \((\d+),(\d+)\)")

_CONNECTION = "no connection: refused, lost, or nobody answers on TCP port 179"

_CODES = {
    1: "message header error",
    2: "OPEN refused",
    3: "malformed UPDATE",
    4: "hold time over: nothing heard from the other side",
    5: "out of step",
    6: "session ceased",
}

_DETAILS = {
    (2, 2): "AS number not expected: compare local_as and peer_as with the router's configuration",
    (2, 3): "router id refused: two speakers with one router_id?",
    (2, 6): "hold time refused: compare hold_time_s with the router's configuration",
    (6, 1): "too many prefixes: raise the router's limit",
    (6, 2): "shut down by its operator",
    (6, 3): "not configured on the other side any more",
    (6, 4): "reset by its operator",
    (6, 5): "connection rejected: does the router expect this address?",
    (6, 7): "another connection won",
}


def explain(reason: str) -> str:
    """Return `reason`, ExaBGP's words for the end of a session, in words that say what to look at."""
    if reason == "closing connection":
        return _CONNECTION
    found = _NOTIFICATION.fullmatch(reason)
    if found is None:
        return reason or "no reason given"
    who = "this node" if found[1] == "sent" else "the router"
    code, detail = int(found[2]), int(found[3])
    what = _DETAILS.get((code, detail)) or _CODES.get(code, "unknown error")
    return f"{who} says: {what} ({code}/{detail})"
