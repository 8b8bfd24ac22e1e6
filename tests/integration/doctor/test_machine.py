"""The doctor on a node's machine: each thing is really broken, and found; what the finding says mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import build_bpf
from lbnode.doctor.checks.host import check_kernel
from lbnode.doctor.gather import host
from lbnode.netdev import bpffs
from tests.integration.cable import ip
from tests.integration.doctor.bedside import (
    Report,
    ethtool,
    examined_node,
    lbctl_doctor,
    mend,
    prepare_far_end,
)
from tests.integration.nodes import NodeMachine, node_machine

FUTURE = Path(__file__).resolve().parents[2] / "bpf" / "build" / "future.bpf.o"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeMachine]:
    with node_machine(tmp_path_factory.mktemp("node")) as made:
        prepare_far_end(made.cable)
        made.start()
        yield made


def doctor(machine: NodeMachine) -> Report:
    return examined_node(machine.cable.near, machine.directory / "lbnode.yaml")


def test_a_machine_as_it_should_be_has_no_findings(machine: NodeMachine) -> None:
    report = doctor(machine)
    for matter in ("kernel", "rights", "bpffs", "interface", "addresses"):
        assert report.findings(matter) == []


def test_a_veth_whose_other_end_has_no_program_is_found_and_mended(machine: NodeMachine) -> None:
    ip("-n", machine.cable.far, "link", "set", "eth0", "xdpdrv", "off")
    report, status = lbctl_doctor(machine.cable.near, "node", machine.directory / "lbnode.yaml")
    assert status == 1
    found = report.finding("interface", "eth0 has no XDP program")
    assert found["grade"] == "failure"
    mend(found["mend"])
    assert doctor(machine).findings("interface") == []


def test_unfinished_checksums_of_the_other_end_are_found_and_mended(machine: NodeMachine) -> None:
    ethtool(machine.cable.far, "-K", "eth0", "tx", "on")
    found = doctor(machine).finding("interface", "leaves checksums")
    mend(found["mend"])
    assert doctor(machine).findings("interface") == []


def test_an_interface_that_is_down_is_found_and_mended(machine: NodeMachine) -> None:
    ip("-n", machine.cable.near, "link", "set", "eth0", "down")
    found = doctor(machine).finding("interface", "is down")
    mend(f"ip netns exec {machine.cable.near} {found['mend']}")
    assert doctor(machine).findings("interface") == []


def test_missing_rights_are_named_and_what_needs_them_is_not_called_good(machine: NodeMachine) -> None:
    config, run_dir = machine.directory / "lbnode.yaml", machine.directory / "run"
    config.write_text(config.read_text().replace(str(run_dir), f"{run_dir}2"))
    weak = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    report, status = lbctl_doctor(machine.cable.near, "node", config, under=weak)
    config.write_text(config.read_text().replace(f"{run_dir}2", str(run_dir)))
    assert "CAP_NET_ADMIN, CAP_BPF" in report.finding("rights", "lacks")["what"]
    assert [each["grade"] for each in report.findings("kernel")] == ["unchecked"]
    assert status == 1


def test_an_address_that_this_machine_has_no_more_is_found(machine: NodeMachine) -> None:
    ip("-n", machine.cable.near, "addr", "del", "10.0.0.2/24", "dev", "eth0")
    found = doctor(machine).finding("addresses", "address 10.0.0.2: is on no interface of this machine")
    ip("-n", machine.cable.near, "addr", "add", "10.0.0.2/24", "dev", "eth0")
    assert found["mend"] == "`ip addr` lists what there is; correct address in lbnode.yaml"
    assert doctor(machine).findings("addresses") == []


def test_a_bpffs_that_was_unmounted_under_the_daemon_is_found(machine: NodeMachine) -> None:
    bpffs.unmount(machine.directory / "run" / "bpf")
    found = doctor(machine).finding("bpffs", "not mounted")
    assert found["grade"] == "failure"
    assert "lbnode" in found["mend"]


def test_generic_xdp_is_explained(tmp_path: Path) -> None:
    with node_machine(tmp_path) as machine:
        ip("-n", machine.cable.near, "link", "set", "eth0", "mtu", "9000")
        ip("-n", machine.cable.far, "link", "set", "eth0", "mtu", "9000")
        machine.start()
        found = doctor(machine).finding("interface", "XDP is generic, not native")
    assert found["grade"] == "warning"
    assert "does not fit into one page" in found["what"]
    assert "mtu 3498" in found["mend"]


def test_an_interface_that_does_not_exist_is_found(machine: NodeMachine, tmp_path: Path) -> None:
    settings = (machine.directory / "lbnode.yaml").read_text().replace("interface: eth0", "interface: eth7")
    config = tmp_path / "lbnode.yaml"
    config.write_text(settings)
    report = examined_node(machine.cable.near, config)
    assert report.finding("interface", "eth7: no such interface")["grade"] == "failure"


def test_a_program_that_the_kernel_refuses_is_named() -> None:
    build_bpf(FUTURE.parents[1])
    examination = check_kernel(host.kernel([FUTURE]))
    assert "refuses future.bpf.o" in examination.findings[0].what
