"""A process with a network namespace and mounts of its own, all gone when it ends: trials disturb nobody."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from lbnode.netdev import bpffs

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_REC_PRIVATE = 0x4000 | 1 << 18
SERVED = ("192.0.2.0/24", "2001:db8:5::/64")
"""Networks of VIPs: all their addresses are this machine's."""
CLIENTS = ("198.51.100.0/24", "2001:db8:c::/64")
"""Networks of clients, behind the tun device."""
_SETTINGS = {"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/tcp_synack_retries": "30"}


def enter(directory: Path) -> None:
    """Move this process into namespaces of its own, and mount a bpffs at `directory`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare network and mounts")
    if libc.mount(None, b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "make mounts private")
    _ip("link", "set", "lo", "up")
    bpffs.mount(directory)


def give_addresses(device: str) -> None:
    """Serve `SERVED` here and reach `CLIENTS` by `device`."""
    _ip("link", "set", device, "up")
    for network in SERVED:
        _ip("route", "add", "local", network, "dev", "lo")
    for network in CLIENTS:
        _ip("route", "add", network, "dev", device)
    for name, value in _SETTINGS.items():
        Path("/proc/sys", name).write_text(value)


def _ip(*words: str) -> None:
    family = ["-6"] if any("::" in word for word in words) else []
    subprocess.run(["ip", *family, *words], check=True, capture_output=True, text=True, timeout=20)
