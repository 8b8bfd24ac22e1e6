"""What the running kernel can do, found out by trying: versions lie where distributions backport."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from lbnode.dataplane import libbpf_abi as abi
from lbnode.dataplane.errors import DataPlaneError, LibraryError, LoadError, RightsError, from_errno, refused
from lbnode.dataplane.libbpf import BpfObject

BTF = Path("/sys/kernel/btf/vmlinux")

XDP, SCHED_CLS = 6, 3
PROGRAMS = {"XDP programs": XDP, "tc programs": SCHED_CLS}
MAPS = {"hash maps": 1, "array maps": 2, "LRU hash maps": 9}
HELPERS = {
    "bpf_xdp_adjust_head": (XDP, 44),
    "bpf_redirect": (XDP, 23),
    "bpf_skc_lookup_tcp": (XDP, 99),
    "bpf_sk_release": (XDP, 86),
    "bpf_tcp_check_syncookie": (XDP, 100),
    "bpf_skc_to_tcp_request_sock": (XDP, 139),
    "bpf_skc_to_tcp_timewait_sock": (XDP, 138),
    "bpf_l4_csum_replace": (SCHED_CLS, 11),
}
"""What the programs call, by the type of program that calls it (linux/bpf.h, enum bpf_func_id)."""


def has_btf() -> bool:
    """Whether the kernel describes its own structures, which the agent's program needs to read sockets."""
    return BTF.exists()


def missing_features(helpers: dict[str, tuple[int, int]] = HELPERS) -> tuple[str, ...]:
    """Return what this kernel lacks of what evenkeel uses. Raises RightsError, LibraryError."""
    lib = abi.library()
    answers = [(name, lib.libbpf_probe_bpf_prog_type(kind, None)) for name, kind in PROGRAMS.items()]
    answers += [(name, lib.libbpf_probe_bpf_map_type(kind, None)) for name, kind in MAPS.items()]
    answers += [
        (name, lib.libbpf_probe_bpf_helper(kind, number, None)) for name, (kind, number) in helpers.items()
    ]
    return tuple(_absent(answers))


def _absent(answers: Iterable[tuple[str, int]]) -> Iterable[str]:
    for name, answer in answers:
        if answer < 0 and refused(-answer):
            raise from_errno(RightsError, f"probe the kernel for {name}", errno.EPERM)
        if answer < 0:
            raise DataPlaneError(f"probe the kernel for {name}: {os.strerror(-answer)}")
        if answer == 0:
            yield name


def refusal(path: Path) -> str:
    """Return why the kernel does not take the object at `path`, or an empty string; nothing of it stays.

    Raises RightsError, LibraryError.
    """
    try:
        with BpfObject.open(path) as each:
            each.load()
    except (RightsError, LibraryError):
        raise
    except LoadError as error:
        notes = [
            line for note in getattr(error, "__notes__", ()) for line in note.splitlines() if line.strip()
        ]
        return ": ".join([str(error), *notes[-1:]])
    return ""
