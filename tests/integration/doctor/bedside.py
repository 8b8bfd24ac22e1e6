"""What the doctor's tests share: machines to break, the doctor in their namespaces, and its advice followed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbnode.backend.settings import BackendSettings
from lbnode.cli.render_doctor import examinations_document
from lbnode.doctor.backend import examine_backend
from lbnode.doctor.node import examine_node
from lbnode.settings.node import NodeSettings
from lbnode.settings.source import load
from tests.integration.cable import Cable, inside, ip

LBCTL = str(Path(sys.executable).with_name("lbctl"))
PASS = Path(__file__).resolve().parents[3] / "lbnode" / "bpf" / "build" / "pass.bpf.o"
DOCTOR_S = 60


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor said."""

    document: dict[str, Any]

    def findings(self, matter: str) -> list[dict[str, str]]:
        """What was found in a matter, which must have been looked at."""
        (examination,) = [each for each in self.document["examinations"] if each["matter"] == matter]
        found: list[dict[str, str]] = examination["findings"]
        return found

    def finding(self, matter: str, words: str) -> dict[str, str]:
        """The one finding of a matter that says `words`."""
        matching = [each for each in self.findings(matter) if words in f"{each['subject']}: {each['what']}"]
        assert len(matching) == 1, json.dumps(self.document, indent=1)
        return matching[0]


def examined_node(namespace: str, config: Path) -> Report:
    """Let the doctor look at a node in its namespace."""
    found = inside(namespace, lambda: asyncio.run(examine_node(load(NodeSettings, config))))
    return Report(examinations_document("node", found))


def examined_backend(namespace: str, config: Path) -> Report:
    """Let the doctor look at a backend in its namespace."""
    found = inside(namespace, lambda: asyncio.run(examine_backend(load(BackendSettings, config))))
    return Report(examinations_document("backend", found))


def lbctl_doctor(
    namespace: str, role: str, config: Path, *, under: tuple[str, ...] = ()
) -> tuple[Report, int]:
    """Run `lbctl doctor` and return its exit status too; `under` is a command that runs it with less than it had."""
    command = ["nsenter", f"--net=/run/netns/{namespace}", *under, LBCTL, "doctor", "--json"]
    words = [*command, "--role", role, "--config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DOCTOR_S, check=False)
    assert done.returncode in (0, 1), done.stderr
    return Report(json.loads(done.stdout)), done.returncode


def prepare_far_end(cable: Cable) -> None:
    """Do for the other end of the cable what native XDP at this end needs."""
    ip("-n", cable.far, "link", "set", "eth0", "xdpdrv", "obj", str(PASS), "sec", "xdp")
    ethtool(cable.far, "-K", "eth0", "tx", "off")


def ethtool(namespace: str, *words: str) -> None:
    """Run ethtool in a namespace."""
    command = ["ip", "netns", "exec", namespace, "ethtool", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def mend(command: str) -> None:
    """Do what a finding says, word by word."""
    words = command.split(" (")[0].split(", or ")[0].replace("pass.bpf.o", str(PASS))
    subprocess.run(["sh", "-c", words], check=True, capture_output=True, timeout=60)
