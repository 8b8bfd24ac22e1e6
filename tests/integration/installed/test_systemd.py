"""The units, under a real systemd: ready when they serve, restarted when they die or hang, with few rights."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.cable import eventually
from tests.integration.installed.conftest import ROOT, Release
from tests.integration.systemd_machine import SystemdMachine, booted

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("lbnode", "lbbackend")
STORE = {"kind": "file", "path": "/var/lib/evenkeel/store"}
NODE = {"name": "n1", "fleet": "demo", "interface": "eth0", "address": "10.0.0.2", "store": STORE}
BACKEND = {"name": "b1", "fleet": "demo", "interface": "eth0", "address": "10.0.0.2", "store": STORE}
ROUTER = {"address": "10.0.0.1", "peer_as": 65000}
BGP = {"local_as": 65001, "router_id": "10.0.0.2", "local_address": "10.0.0.2", "neighbors": [ROUTER]}
EXPOSURE = 2.5
"""What `systemd-analyze security` may say at most: 10 is a service without any protection."""
RIGHTS = 1 << 12 | 1 << 38 | 1 << 39  # CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF


@pytest.fixture(scope="module")
def machine(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    """A machine on which both daemons are installed, and neither has been started."""
    move(release.environment, "/opt/evenkeel")
    folder = tmp_path_factory.mktemp("machine")
    with booted(folder, release.environment) as made:
        made.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        made.run("ip", "addr", "add", "10.0.0.2/24", "dev", "eth0")
        for name in ("eth0", "eth1"):
            made.run("ip", "link", "set", name, "up")
        for daemon in ("node", "backend"):
            made.run("/opt/evenkeel/bin/lbctl", "systemd", "install", daemon)
        made.run("systemd-sysusers")
        made.run("install", "-d", "-o", "evenkeel", "/var/lib/evenkeel/store")
        made.write("/etc/evenkeel/lbnode.yaml", yaml.safe_dump({**NODE, "bgp": BGP}))
        made.write("/etc/evenkeel/lbbackend.yaml", yaml.safe_dump(BACKEND))
        for service in SERVICES:
            made.write(f"/etc/systemd/system/{service}.service.d/test.conf", "[Service]\nWatchdogSec=3\n")
        made.run("systemctl", "daemon-reload")
        yield made


def move(environment: Path, to: str) -> None:
    """Let the environment's commands start the interpreter from where it will be mounted."""
    for script in (environment / "bin").iterdir():
        text = script.read_bytes()
        if text.startswith(b"#!") and not script.is_symlink():
            script.write_bytes(text.replace(str(environment).encode(), to.encode()))


@pytest.fixture
def node(machine: SystemdMachine) -> Iterator[SystemdMachine]:
    """The machine, with a node that has said that it is ready; only for this test."""
    machine.run("systemctl", "start", "lbnode")
    yield machine
    machine.run("systemctl", "stop", "lbnode")
    machine.run("systemctl", "reset-failed", "lbnode", check=False)


def program(machine: SystemdMachine) -> str:
    """The number of the program on the interface."""
    found: list[str] = re.findall(r"prog/xdp id (\d+)", machine.run("ip", "link", "show", "eth0"))
    return found[0]


@pytest.mark.parametrize("service", SERVICES)
def test_the_units_are_well_formed(service: str, tmp_path: Path) -> None:
    for unit in UNITS.glob("*.*"):
        text = unit.read_text().replace("/opt/evenkeel/bin/lbnode", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("/opt/evenkeel/bin/lbbackend", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{service}.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or service in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_units_are_closed(service: str) -> None:
    unit = str(UNITS / f"{service}.service")
    threshold = f"--threshold={int(EXPOSURE * 10)}"
    command = ["systemd-analyze", "security", "--offline=yes", threshold, unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-200:]


def test_a_started_node_answers_and_has_three_rights(node: SystemdMachine) -> None:
    assert node.show("lbnode", "ActiveState") == "active"
    assert "n1" in node.run(
        "/opt/evenkeel/bin/lbctl", "--node", "unix:/run/evenkeel/lbnode/rpc.sock", "status"
    )
    status = node.run("cat", f"/proc/{node.show('lbnode', 'MainPID')}/status")
    effective, bounding = (
        int(re.findall(rf"{word}:\s+(\w+)", status)[0], 16) for word in ("CapEff", "CapBnd")
    )
    assert (effective, bounding) == (RIGHTS, RIGHTS)
    user = node.run("id", "-u", "evenkeel").strip()
    assert re.findall(r"Uid:\s+(\d+)", status) == [user]
    assert re.findall(r"(?:NoNewPrivs|Seccomp):\s+(\d)", status) == ["1", "2"]


def test_exabgp_has_none_of_the_rights(node: SystemdMachine) -> None:
    pids = eventually("exabgp runs", lambda: node.run("pgrep", "-f", "exabgp server", check=False).split())
    status = node.run("cat", f"/proc/{pids[0]}/status")
    assert int(re.findall(r"CapEff:\s+(\w+)", status)[0], 16) == 0


def test_a_node_that_is_killed_comes_back_to_the_same_program_and_routes(node: SystemdMachine) -> None:
    speaker = eventually("exabgp runs", lambda: node.run("pgrep", "-f", "exabgp server", check=False).split())
    before = node.show("lbnode", "MainPID")
    tables = node.run("ls", "/run/evenkeel/lbnode/bpf/node")
    node.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "lbnode")
    eventually("it is back", lambda: is_back(node, "lbnode", before))
    assert program(node)
    assert node.run("ls", "/run/evenkeel/lbnode/bpf/node") == tables
    assert node.run("pgrep", "-f", "exabgp server").split() == speaker


def is_back(machine: SystemdMachine, service: str, before: str) -> bool:
    """Whether another process is ready in the place of the one `before`."""
    state, pid = machine.show(service, "ActiveState"), machine.show(service, "MainPID")
    return state == "active" and pid not in ("0", before)


def test_a_node_that_hangs_is_started_anew(node: SystemdMachine) -> None:
    before = node.show("lbnode", "MainPID")
    node.run("kill", "-STOP", before)
    eventually("the watchdog has noticed", lambda: is_back(node, "lbnode", before), 60)


def test_a_stopped_node_leaves_its_program_and_no_process(machine: SystemdMachine) -> None:
    machine.run("systemctl", "start", "lbnode")
    machine.run("systemctl", "stop", "lbnode")
    assert machine.show("lbnode", "Result") == "success"
    assert program(machine)
    assert machine.run("pgrep", "-u", "evenkeel", check=False) == ""


def test_bad_settings_are_said_in_one_line_and_not_tried_again(machine: SystemdMachine) -> None:
    machine.write("/etc/evenkeel/lbnode.yaml", yaml.safe_dump({**NODE, "adress": "10.0.0.2"}))
    machine.run("systemctl", "start", "lbnode", check=False)
    assert machine.show("lbnode", "ExecMainStatus") == "2"
    assert machine.show("lbnode", "NRestarts") == "0"
    said = machine.run("journalctl", "--unit=lbnode", "--output=cat", "--no-pager")
    assert "adress: unknown key; did you mean address?" in said
    machine.write("/etc/evenkeel/lbnode.yaml", yaml.safe_dump({**NODE, "bgp": BGP}))


def test_an_agent_is_ready_when_it_is_attached_and_comes_back_too(machine: SystemdMachine) -> None:
    machine.run("/opt/evenkeel/bin/lbnode", "unload")
    machine.run("systemctl", "start", "lbbackend")
    assert machine.run("sysctl", "-n", "net.ipv4.conf.all.arp_ignore").strip() == "1"
    before, attached = machine.show("lbbackend", "MainPID"), program(machine)
    machine.run("systemctl", "kill", "--signal=KILL", "lbbackend")
    eventually("it is back", lambda: is_back(machine, "lbbackend", before))
    assert attached
    machine.run("systemctl", "stop", "lbbackend")
    assert machine.show("lbbackend", "Result") == "success"
    assert program(machine)
