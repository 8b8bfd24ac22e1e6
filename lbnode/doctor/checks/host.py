"""What every daemon needs of its machine: the kernel, rights, a place that outlives the process."""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.doctor.facts import BpffsFacts, KernelFacts, RightsFacts
from lbnode.doctor.findings import Examination, Finding, Grade

NEWER = "boot Linux 5.15 or newer (Debian 12's stock kernel will do), with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF"
FORWARDING = "packets are forwarded by programs in the kernel; without them nothing is"


def check_kernel(facts: KernelFacts) -> Examination:
    """Whether the kernel has what the programs need, and takes them."""
    return Examination(
        "kernel",
        f"Linux {facts.release} has every feature, and takes the programs",
        tuple(_kernel_findings(facts)),
    )


def _kernel_findings(facts: KernelFacts) -> Iterator[Finding]:
    if not facts.has_btf:
        what = "it does not describe its own structures (no /sys/kernel/btf/vmlinux)"
        yield Finding(Grade.FAILURE, f"Linux {facts.release}", what, FORWARDING, NEWER)
    if facts.missing:
        what = f"it has no {', no '.join(facts.missing)}"
        yield Finding(Grade.FAILURE, f"Linux {facts.release}", what, FORWARDING, NEWER)
    for name, reason in facts.refused.items():
        yield Finding(Grade.FAILURE, f"Linux {facts.release}", f"refuses {name}: {reason}", FORWARDING, NEWER)


def check_rights(facts: RightsFacts) -> Examination:
    """Whether the daemon has the capabilities that it needs."""
    who = f"{facts.daemon} (process {facts.pid})" if facts.pid is not None else "whoever runs this"
    what = f"lacks {', '.join(facts.missing)}"
    why = "it cannot load programs, put them on interfaces or mount a bpffs"
    lacking = Finding(Grade.FAILURE, who, what, why, _how_to_get(facts))
    findings = (lacking,) if facts.missing else ()
    return Examination("rights", f"{who} has the capabilities that it needs", findings)


def _how_to_get(facts: RightsFacts) -> str:
    if facts.pid is None:
        return "sudo lbctl doctor"
    return (
        f"systemctl edit {facts.daemon}: AmbientCapabilities= (containers: cap_add, as in docker-compose.yml)"
    )


def check_bpffs(facts: BpffsFacts) -> Examination:
    """Whether programs and maps survive their daemon."""
    good = f"{facts.directory} holds the programs and tables" if facts.pinned else "can be mounted"
    return Examination("bpffs", good, tuple(_bpffs_findings(facts)))


def _bpffs_findings(facts: BpffsFacts) -> Iterator[Finding]:
    where = str(facts.directory)
    if not facts.known_to_kernel:
        what, why = "the kernel knows no BPF file system", "programs and tables would die with their daemon"
        yield Finding(Grade.FAILURE, where, what, why, NEWER)
    elif facts.pid is not None and not (facts.mounted and facts.pinned):
        what = "not mounted" if not facts.mounted else "mounted, but holds nothing of this daemon"
        yield Finding(
            Grade.FAILURE,
            where,
            f"{what}, although {facts.service} runs (process {facts.pid})",
            "if that process ends, forwarding ends with it; and the next one cannot adopt its tables",
            f"systemctl restart {facts.service}",
        )
