"""What a driver says that it can do for XDP (generic netlink family "netdev", Linux 6.3 and newer).

Asked, not tried: putting a program on an interface lets some drivers reset the link.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 3, 1, 2
NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES = 1, 1, 3
NLM_F_REQUEST, NLMSG_ERROR = 1, 2
XDP_ACT_BASIC = 1
HEADER = struct.Struct("=IHHII")
GENERIC = struct.Struct("=BBH")
ATTRIBUTE = struct.Struct("=HH")
TIMEOUT_S = 1.0


def native_possible(ifindex: int) -> bool | None:
    """Whether the driver runs XDP programs itself; None where the kernel cannot say. For this namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC) as door:
        door.bind((0, 0))
        door.settimeout(TIMEOUT_S)
        name = b"netdev\0"
        family = _ask(door, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, name)
        if family is None:
            return None
        number = struct.unpack("=H", family[CTRL_ATTR_FAMILY_ID][:2])[0]
        index = struct.pack("=I", ifindex)
        answer = _ask(door, number, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, index)
    if answer is None or NETDEV_A_DEV_XDP_FEATURES not in answer:
        return None
    return bool(int.from_bytes(answer[NETDEV_A_DEV_XDP_FEATURES], "little") & XDP_ACT_BASIC)


def _ask(door: socket.socket, family: int, command: int, key: int, value: bytes) -> dict[int, bytes] | None:
    """Send one request and return the answer's attributes; None for a refusal."""
    padded = value + bytes(-len(value) % 4)
    body = GENERIC.pack(command, 1, 0) + ATTRIBUTE.pack(ATTRIBUTE.size + len(value), key) + padded
    door.send(HEADER.pack(HEADER.size + len(body), family, NLM_F_REQUEST, 1, os.getpid()) + body)
    try:
        answer = door.recv(1 << 16)
    except TimeoutError:
        return None
    _, kind, *_ = HEADER.unpack_from(answer)
    if kind == NLMSG_ERROR:
        return None
    return dict(_attributes(answer[HEADER.size + GENERIC.size :]))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        size, kind = ATTRIBUTE.unpack_from(data)
        if size < ATTRIBUTE.size:
            return
        yield kind, data[ATTRIBUTE.size : size]
        data = data[(size + 3) & ~3 :]
