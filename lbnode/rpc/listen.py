"""Where a server may listen: with TLS anywhere, without it on unix sockets and on loopback alone."""

from __future__ import annotations

import errno
import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path

from lbnode.rpc.errors import ListenError

UNIX = "unix:"
UNIX_PATH_MAX = 107
"""Bytes in sockaddr_un.sun_path, less the closing zero (unix(7))."""


def check_listen_address(address: str, protected: bool = False) -> str:
    """Return `address` in gRPC's form: `unix:/path`, `127.0.0.1:port` or `[::1]:port`.

    `protected`: by TLS, or by the operator's own word that it need not be. Raises ListenError for what is no
    address, is neither loopback nor protected, or is a unix socket in use.
    """
    if address.startswith(UNIX):
        check_socket_path(Path(address.removeprefix(UNIX).removeprefix("//")))
        return address
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ListenError(
            f"listen on {address!r}: not an address; use unix:/path/to/socket, 127.0.0.1:PORT or [::1]:PORT"
        )
    if not protected and not is_loopback(host):
        raise ListenError(
            f"listen on {address}: not loopback, and without TLS whoever reaches it could drain the fleet; "
            f"set rpc.tls, or use unix:/path/to/socket, 127.0.0.1:{port} or [::1]:{port}"
        )
    return address


def check_socket_path(path: Path) -> None:
    """Raise ListenError unless a server may bind `path`: absent, or left behind by one that is gone."""
    if not path.is_absolute():
        raise ListenError(f"listen on {UNIX}{path}: not absolute; use {UNIX}{path.absolute()}")
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise ListenError(f"listen on {UNIX}{path}: longer than {UNIX_PATH_MAX} bytes; use a shorter path")
    if not path.parent.is_dir():
        raise ListenError(f"listen on {UNIX}{path}: no directory {path.parent}; create it first")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"listen on {UNIX}{path}: the file there is no socket; move it away")
    if _answers(path):
        raise ListenError(
            f"listen on {UNIX}{path}: another process listens there; stop it or use another path"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, and nobody else can reach it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        refused = probe.connect_ex(str(path))
    return refused not in (errno.ECONNREFUSED, errno.ENOENT)
