"""The machine itself: kernel, capabilities, bpffs."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

from lbnode.daemon.lock import running_pid
from lbnode.dataplane import features
from lbnode.doctor.facts import BpffsFacts, KernelFacts, RightsFacts
from lbnode.netdev import bpffs

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""Numbers of linux/capability.h."""

LOADING = ("CAP_BPF", "CAP_PERFMON")
"""What CAP_SYS_ADMIN stands in for."""

NEEDED = ("CAP_NET_ADMIN", *LOADING)
MOUNTING = "CAP_SYS_ADMIN"
"""Only who finds no bpffs has to mount one."""


def kernel(objects: Iterable[Path]) -> KernelFacts:
    """Try the kernel's features, and whether it takes the `objects`. Raises RightsError, LibraryError."""
    missing = features.missing_features()
    refused = {path.name: features.refusal(path) for path in objects if path.exists()}
    absent = {
        path.name: "the compiled object is missing: install evenkeel anew"
        for path in objects
        if not path.exists()
    }
    return KernelFacts(
        release=platform.release(),
        has_btf=features.has_btf(),
        missing=missing,
        refused={name: reason for name, reason in (absent | refused).items() if reason},
    )


def rights(daemon: str, run_dir: Path, directory: Path) -> RightsFacts:
    """Compare the capabilities of the daemon that holds `run_dir`, else our own, with those that it needs.

    `directory` is where its bpffs is mounted, or will have to be.
    """
    pid = running_pid(run_dir, daemon)
    held = effective(pid)
    needed = NEEDED if bpffs.is_mounted(directory) else (*NEEDED, MOUNTING)
    lacking = [name for name in needed if name not in held and not (name in LOADING and MOUNTING in held)]
    return RightsFacts(daemon, pid, tuple(lacking))


def effective(pid: int | None) -> frozenset[str]:
    """Return the named capabilities that a process has in effect; None: this one."""
    status = Path("/proc", str(pid) if pid is not None else "self", "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    bits = int(line.split()[1], 16)
    return frozenset(name for name, number in CAPABILITIES.items() if bits >> number & 1)


def place(daemon: str, run_dir: Path, directory: Path, pins: str) -> BpffsFacts:
    """Look at the instance's bpffs; `pins` is the pattern of what the daemon leaves there."""
    mounted = bpffs.is_mounted(directory)
    return BpffsFacts(
        service=daemon,
        directory=directory,
        known_to_kernel=bpffs.is_known(),
        mounted=mounted,
        pinned=mounted and any(directory.glob(pins)),
        pid=running_pid(run_dir, daemon),
    )
