"""deploy/compose.secure.yml: the same fleet, with every door closed, and what strangers find there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose import plugin
from tests.compose.conftest import FLEET_FILE, SECURE, Timings
from tests.compose.engine import Engine
from tests.compose.project import Project
from tests.compose.shell import CommandError
from tests.integration.cable import eventually

STEP_S = 90.0

FIND_DOORS = """
import json, socket, ssl
from pathlib import Path
from kazoo.client import KazooClient
from lbnode.store.client import OrderedHandler, Transport

secrets = Path("/run/secrets")
def reach(host, port): socket.create_connection((host, port), 2).close()
def by_tls_without_a_certificate():
    context = ssl.create_default_context(cafile=secrets / "ca.crt")
    context.wrap_socket(socket.create_connection(("zk1", 2281), 5), server_hostname="zk1").recv(1)
transport = Transport(secrets / "backend.crt", secrets / "backend.key", secrets / "ca.crt")
zookeeper = KazooClient("zk1:2281", handler=OrderedHandler(transport))
zookeeper.start(10)
tries = {
    "ZooKeeper in the clear": lambda: reach("zk1", 2181),
    "ZooKeeper without a certificate": by_tls_without_a_certificate,
    "the ensemble's own port": lambda: reach("zk1", 3888),
    "a znode, read without the password": lambda: zookeeper.get("/evenkeel/demo"),
    "a znode, made without the password": lambda: zookeeper.create("/evenkeel/demo/stranger"),
    "BGP without the password": lambda: reach("fleet-router", 179),
}
found = {}
for name, attempt in tries.items():
    try: found[name] = repr(attempt())
    except Exception as error: found[name] = type(error).__name__
zookeeper.stop()
print(json.dumps(found))
"""
"""Run in a backend's container: what somebody finds who has taken it over, but for its passwords."""

pytestmark = pytest.mark.timeout(900)


def brought_up(images: Engine, folder: Path, **fields: Any) -> Project:
    """Two nodes and two backends; the secrets are made in `folder`."""
    shutil.copy(FLEET_FILE, folder)
    variables = {"COMPOSE_FILE": SECURE, "EVENKEEL_FLEET_DIR": str(folder)}
    project = Project(
        images, variables={**variables, "EVENKEEL_SECRETS_DIR": str(folder / "secrets")}, **fields
    )
    project.scale(node=2, backend=2)
    eventually("the first answer", lambda: bool(project.ask()), STEP_S)
    return project


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secure")


@pytest.fixture(scope="module")
def project(images: Engine, folder: Path, timings: Timings) -> Iterator[Project]:
    began = time.monotonic()
    project = brought_up(images, folder)
    timings.measured("up with every door closed, secrets made: the first answer", began)
    try:
        yield project
    finally:
        project.down()


def as_operator(project: Project) -> dict[str, Any]:
    """Return what `lbctl status` says by gRPC."""
    said = project.compose("run", "--rm", "-T", "operator", "status", "--json")
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_scaled_node_is_let_in_without_another_certificate(project: Project) -> None:
    inside = project.into("router")
    eventually("two nodes", lambda: len(project.ecmp(inside)) == 2, STEP_S)
    project.scale(node=3)
    eventually("three nodes", lambda: len(project.ecmp(inside)) == 3, STEP_S)
    eventually("agreement", lambda: bool(project.status()["agree"]), STEP_S)
    assert [one for one in project.status()["problems"] if one["severity"] == "alarm"] == []


def test_an_operator_gets_in_by_grpc_and_nobody_without_a_certificate_does(project: Project) -> None:
    assert as_operator(project)["fleet"] == "demo"
    stranger = ("run", "--rm", f"--network={project.name}_fleet", "--entrypoint=lbctl", "evenkeel-node")
    with pytest.raises(CommandError, match="may want TLS"):
        project.engine.docker(*stranger, "--node=node:7946", "--insecure", "status")


def test_a_revoked_certificate_is_refused_without_a_restart(project: Project) -> None:
    words = ("revoke", "admin", "--dir=/secrets/operator", "--list=/secrets/node/revoked")
    project.compose("run", "--rm", "-T", "--entrypoint=lbctl", "certs", "certs", *words)
    with pytest.raises(CommandError, match="operator admin of fleet demo was revoked"):
        as_operator(project)


def test_who_has_a_backends_certificate_finds_all_other_doors_closed(project: Project) -> None:
    backend = project.containers("backend")[0]
    assert json.loads(project.engine.docker("exec", backend, "python", "-c", FIND_DOORS)) == {
        "ZooKeeper in the clear": "ConnectionRefusedError",
        "ZooKeeper without a certificate": "SSLError",
        "the ensemble's own port": "ConnectionRefusedError",
        "a znode, read without the password": "NoAuthError",
        "a znode, made without the password": "NoAuthError",
        "BGP without the password": "TimeoutError",
    }


def test_nobody_sees_the_authoritys_key_or_another_kinds_secrets(project: Project, folder: Path) -> None:
    seen = {
        service: set(project.compose("exec", "-T", service, "ls", "/run/secrets").split())
        for service in ("node", "backend", "router", "zk1")
    }
    common = {"ca.crt"}
    assert seen == {
        "node": {*common, "node.crt", "node.key", "store-nodes.yaml", "bgp-password", "revoked"},
        "backend": {*common, "backend.crt", "backend.key", "store-backends.yaml"},
        "router": {"bgp-password"},
        "zk1": {*common, "zookeeper.crt", "server.pem"},
    }
    open_to_others = [path.name for path in folder.glob("secrets/**/*") if path.stat().st_mode & 0o077]
    assert open_to_others == ["revoked"]


def test_secrets_are_made_once(project: Project, folder: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.glob("secrets/**/*") if path.is_file()}

    before = content()
    (folder / "secrets/authority/ca.key").unlink()
    project.compose("run", "--rm", "-T", "certs")
    assert content() == {path: text for path, text in before.items() if path.name != "ca.key"}


def test_nothing_is_left_of_a_project_that_is_taken_down(project: Project) -> None:
    project.down()
    assert project.left() == []


def test_the_plugin_of_version_2_brings_it_up_too(images: Engine, tmp_path: Path, timings: Timings) -> None:
    began = time.monotonic()
    program = plugin.binary(tmp_path)
    timings.measured("the plugin of version 2, of Debian's packages", began)
    began = time.monotonic()
    project = brought_up(images, tmp_path, command=(str(program),))
    try:
        timings.measured("up with every door closed, by the plugin: the first answer", began)
        assert as_operator(project)["fleet"] == "demo"
    finally:
        project.down()
    assert project.left() == []
