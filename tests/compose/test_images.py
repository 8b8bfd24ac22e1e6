"""What is in the images, and what is not."""

from __future__ import annotations

import json

import pytest

from tests.compose import base
from tests.compose.engine import Engine

MEGABYTE = 1_000_000
MOST_MB = 150
OURS = ("evenkeel-node", "evenkeel-backend")
ALL = (*OURS, "evenkeel-router", "evenkeel-zookeeper", "evenkeel-client")

pytestmark = pytest.mark.timeout(900)


def size(docker: Engine, image: str) -> int:
    return int(docker.docker("image", "inspect", "--format", "{{.Size}}", image))


def inside(docker: Engine, image: str, script: str) -> str:
    return docker.docker("run", "--rm", "--network=none", "--entrypoint", "sh", image, "-c", script)


def test_the_node_adds_little_to_its_base(images: Engine) -> None:
    added = size(images, "evenkeel-node") - size(images, base.IMAGE)
    assert added <= MOST_MB * MEGABYTE, f"{added / MEGABYTE:.0f} MB"


@pytest.mark.parametrize("image", OURS)
def test_no_compiler_and_no_installer_is_in_a_final_image(images: Engine, image: str) -> None:
    found = inside(
        images, image, "ls /usr/bin /opt/evenkeel/bin | grep -E '^(clang|gcc|cc|llvm|make|pip)' || true"
    )
    assert found == ""


@pytest.mark.parametrize("image", OURS)
def test_every_command_of_ours_starts_and_writes_no_bytecode_anew(images: Engine, image: str) -> None:
    script = (
        "for command in lbnode lbbackend lbctl; do $command --help >/dev/null || exit 1; done; "
        "find /opt/evenkeel -newer /opt/evenkeel/bin/lbnode -name '*.pyc' -mmin -1 | wc -l"
    )
    assert inside(images, image, script) == "0"


def test_the_compiled_programs_travel_in_the_image(images: Engine) -> None:
    found = inside(
        images, "evenkeel-node", "cd /opt/evenkeel/lib/python3*/site-packages && ls lbnode/bpf/build ring"
    )
    assert {"node.bpf.o", "decap.bpf.o", "libfast.so"} <= set(found.split())


@pytest.mark.parametrize("image", ALL)
def test_every_image_but_the_clients_has_a_health_check(images: Engine, image: str) -> None:
    checked = json.loads(images.docker("image", "inspect", "--format", "{{json .Config.Healthcheck}}", image))
    assert (checked is not None) == (image != "evenkeel-client")
