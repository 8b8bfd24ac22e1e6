"""Containers that cannot work end with one clear line that names the remedy, and with a status that is not 0."""

from __future__ import annotations

import subprocess

import pytest

from tests.compose.engine import DOCKER, Engine
from tests.compose.shell import run
from tests.integration.cable import eventually

RIGHTS = ("--cap-drop=ALL", "--cap-add=NET_ADMIN", "--cap-add=SYS_ADMIN")
NGINX = tuple(f"--cap-add={right}" for right in ("NET_BIND_SERVICE", "SETUID", "SETGID", "CHOWN", "KILL"))
STORE = ("-e", "EVENKEEL_FLEET=demo", "-e", "EVENKEEL_STORE__KIND=zookeeper")
HOSTS = ("-e", 'EVENKEEL_STORE__HOSTS=["zk1:2181"]')
ROUTER = ("-e", "EVENKEEL_ROUTER=10.214.0.1")
AS = ("-e", "EVENKEEL_ROUTER_AS=65000", "-e", "EVENKEEL_BGP__LOCAL_AS=65001")
ROUTERS_AS = ("-e", "EVENKEEL_ROUTER_AS=65000", "-e", "EVENKEEL_NODE_AS=65001")
NODE = "evenkeel-node"
ZOOKEEPER = "evenkeel-zookeeper"
RESTS_S = 60.0

pytestmark = pytest.mark.timeout(900)


def ended(docker: Engine, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a container until it ends by itself."""
    return run([DOCKER, "run", "--rm", *words], timeout_s=60, environment=docker.environment, check=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (*RIGHTS, *ROUTER, "-e", "EVENKEEL_ROUTER-AS=65000", NODE),
            "error: environment: EVENKEEL_ROUTER-AS: no such variable; did you mean EVENKEEL_ROUTER_AS?",
        ),
        ((*RIGHTS, NODE), "error: EVENKEEL_ROUTER: missing; set it to the router's name or address"),
        (
            (*RIGHTS, *ROUTER, *AS, "-e", "EVENKEEL_FLEET_FILE=/etc/evenkeel/fleet.yaml", NODE),
            "error: EVENKEEL_FLEET_FILE: /etc/evenkeel/fleet.yaml: not there, or not readable; mount a folder",
        ),
        (
            (*RIGHTS, *ROUTER, "-e", "EVENKEEL_ROUTER_AS=x", NODE),
            "error: EVENKEEL_ROUTER_AS: found 'x'; set it to the routers' AS number, such as 65000",
        ),
        (
            (*RIGHTS, *ROUTER, *AS, *STORE, NODE),
            "store.hosts: missing; set it, or EVENKEEL_STORE__HOSTS: a list of host:port",
        ),
        (
            (*RIGHTS, *ROUTER, *AS, *STORE, "-e", "EVENKEEL_STORE__HOSTS=zk1:2181", NODE),
            """lists are JSON there: EVENKEEL_STORE__HOSTS='["zk1:2181"]'""",
        ),
        (
            (*RIGHTS, *ROUTER, *AS, *STORE, "-e", 'EVENKEEL_STORE_HOSTS=["zk1:2181"]', NODE),
            "EVENKEEL_STORE_HOSTS: no such variable; did you mean EVENKEEL_STORE__HOSTS?",
        ),
        (
            (*RIGHTS, *ROUTER, *AS, *STORE, *HOSTS, "-e", "EVENKEEL_XDP_MODE=fast", NODE),
            "environment: EVENKEEL_XDP_MODE: ",
        ),
        (
            ("--cap-drop=ALL", *ROUTER, *AS, *STORE, *HOSTS, NODE),
            "error: capabilities are missing: NET_ADMIN, SYS_ADMIN; give the service `cap_add: [NET_ADMIN, SYS_ADMIN]`",
        ),
        (
            (*RIGHTS, *ROUTER, *AS, *STORE, *HOSTS, "-e", "EVENKEEL_METRICS__LISTEN=203.0.113.9:9464", NODE),
            "metrics.listen: 203.0.113.9:9464: ",
        ),
        (
            (*RIGHTS, *NGINX, *ROUTER, *STORE, *HOSTS, "evenkeel-backend"),
            "set it from outside (compose: `sysctls:`, docker: --sysctl net.ipv4.conf.all.arp_ignore=1)",
        ),
        (
            (*RIGHTS, *ROUTER, *STORE, *HOSTS, "evenkeel-backend", "backend", "--", "apache"),
            "start apache: No such file or directory; correct the container's `command`",
        ),
        ((*RIGHTS, "evenkeel-router"), "error: EVENKEEL_ROUTER_AS: '' is no AS number"),
        (
            (*RIGHTS, *ROUTERS_AS, "-e", "EVENKEEL_BGP_PASSWORD_FILE=/nowhere", "evenkeel-router"),
            "EVENKEEL_BGP_PASSWORD_FILE: /nowhere: not there, or not readable; see deploy/compose.secure.yml",
        ),
        (
            (*RIGHTS, *ROUTERS_AS, "-e", "EVENKEEL_BGP_PASSWORD_FILE=/etc/passwd", "evenkeel-router"),
            "EVENKEEL_BGP_PASSWORD_FILE: /etc/passwd is open to other users: chmod 600",
        ),
        (
            (
                "-e",
                "ZOOKEEPER_SERVERS=zk1",
                "-e",
                "ZOOKEEPER_ID=1",
                "-e",
                "ZOOKEEPER_TLS_DIR=/tmp",
                ZOOKEEPER,
            ),
            "error: ZOOKEEPER_TLS_DIR: /tmp/server.pem: not there, or not readable by user zookeeper",
        ),
        (("-e", "ZOOKEEPER_SERVERS=zk1 zk2", ZOOKEEPER), "error: ZOOKEEPER_ID: ''; set it to"),
    ],
)
def test_a_container_that_cannot_work_says_why_and_ends(
    images: Engine, words: tuple[str, ...], message: str
) -> None:
    done = ended(images, *words)
    said = done.stderr + done.stdout
    assert done.returncode in (1, 2), said
    assert message in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_named(images: Engine) -> None:
    """The service is in the daemon's way: a web server on the port of its metrics."""
    images.docker("run", "-d", "--name", "holder", "--entrypoint", "sleep", "evenkeel-client", "60")
    try:
        words = (*RIGHTS, *ROUTER, *AS, *STORE, *HOSTS, "--network=container:holder")
        holding = ("run", "-d", "--name", "first", "--entrypoint", "python3", "--network=container:holder")
        images.docker(*holding, NODE, "-m", "http.server", "--bind", "127.0.0.1", "9464")
        done = ended(images, *words, NODE)
    finally:
        images.docker("rm", "-f", "first", "holder", check=False)
    assert done.returncode == 1
    assert "metrics.listen: 127.0.0.1:9464: Address already in use" in done.stderr


def test_a_container_that_cannot_work_is_left_alone_in_the_end(images: Engine) -> None:
    """The restart policy tries it some times, and then it rests where everybody sees it."""
    images.docker("run", *RIGHTS, "--restart=on-failure:2", "--detach", "--name", "resting", NODE)

    def state() -> str:
        return images.docker("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "resting")

    try:
        eventually("it rests", lambda: state() == "exited 2", RESTS_S)
        said = run([DOCKER, "logs", "resting"], environment=images.environment).stderr.splitlines()
    finally:
        images.docker("rm", "-f", "resting", check=False)
    assert len(said) == 3
    assert len(set(said)) == 1
    assert said[0].startswith("error: EVENKEEL_ROUTER: missing; ")
