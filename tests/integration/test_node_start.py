"""`lbnode` that cannot start says why in one line, names the remedy, and leaves nothing behind."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lbnode.model.access import Role
from lbnode.netdev import bpffs
from tests.certificates import Authority

LBNODE = str(Path(sys.executable).with_name("lbnode"))
START_S = 30.0


def config(path: Path, **changes: object) -> Path:
    """A node's settings in `path`; nothing of this machine is touched but its loopback interface."""
    settings = {
        "name": "n1",
        "fleet": "demo",
        "interface": "lo",
        "address": "127.0.0.1",
        "store": {"kind": "file", "path": str(path / "store")},
        "rpc": {"listen": f"unix:{path / 'rpc.sock'}"},
        "state_dir": str(path / "state"),
        "run_dir": str(path / "run"),
        **changes,
    }
    file = path / "lbnode.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=START_S, check=False)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    bpffs.unmount(tmp_path / "run" / "bpf")


def test_an_interface_that_does_not_exist_is_named_beside_those_that_do(directory: Path) -> None:
    ended = run(LBNODE, "run", "--config", config(directory, interface="eth77"))
    assert ended.returncode == 1
    assert "error: interface eth77: no such interface" in ended.stderr
    assert "lo" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not bpffs.is_mounted(directory / "run" / "bpf")


def test_bad_settings_are_all_named_and_have_a_status_of_their_own(directory: Path) -> None:
    ended = run(LBNODE, "run", "--config", config(directory, adress="10.0.0.1", xdp_mode="fast"))
    assert ended.returncode == 2
    assert "adress: unknown key; did you mean address?" in ended.stderr
    assert "xdp_mode" in ended.stderr


def test_without_rights_the_missing_ones_are_named(directory: Path) -> None:
    nobody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"]
    directory.chmod(0o777)
    for parent in directory.parents:
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o111)
    ended = run(*nobody, LBNODE, "run", "--config", config(directory))
    assert ended.returncode == 1, ended.stderr
    assert "CAP_" in ended.stderr or "root" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_listening_beyond_loopback_is_refused_without_tls(directory: Path) -> None:
    ended = run(LBNODE, "run", "--config", config(directory, rpc={"listen": "0.0.0.0:7777"}))
    assert ended.returncode == 1
    assert "0.0.0.0:7777" in ended.stderr
    assert "TLS" in ended.stderr
    assert not bpffs.is_mounted(directory / "run" / "bpf")


@pytest.mark.parametrize(
    ("days", "key_mode", "reason"),
    [
        (-1, 0o600, "own.crt: the certificate of node n1 of fleet demo expired on "),
        (100, 0o640, "own.key is open to other users: chmod 600 "),
    ],
)
def test_a_certificate_of_no_use_ends_the_start_with_one_line(
    directory: Path, days: int, key_mode: int, reason: str
) -> None:
    authority = Authority(directory / "certs")
    settings = authority.write(authority.issue(Role.NODE, "n1", days))
    settings.key.chmod(key_mode)
    rpc = {"listen": "0.0.0.0:0", "tls": settings.model_dump(mode="json")}
    for verb in ("run", "check"):
        ended = run(LBNODE, verb, "--config", config(directory, rpc=rpc))
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: rpc.tls")
        assert reason in line
    assert not (directory / "run").exists()


def test_a_password_that_others_can_read_ends_the_start_with_one_line(directory: Path) -> None:
    password = directory / "password"
    password.write_text("secret")
    password.chmod(0o644)
    neighbor = {"address": "127.0.0.2", "peer_as": 65000, "md5_password_file": str(password)}
    bgp = {
        "local_as": 65001,
        "router_id": "127.0.0.1",
        "local_address": "127.0.0.1",
        "neighbors": [neighbor],
    }
    ended = run(LBNODE, "run", "--config", config(directory, bgp=bgp))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "127.0.0.2.md5_password_file: " in line
    assert f"is open to other users: chmod 600 {password}" in line
    assert not (directory / "run").exists()


def test_check_reads_the_settings_and_changes_nothing(directory: Path) -> None:
    good = run(LBNODE, "check", "--config", config(directory))
    assert good.returncode == 0
    assert "good: node n1 of fleet demo on lo" in good.stdout
    assert not (directory / "run").exists()


def test_unload_of_what_never_ran_is_fine(directory: Path) -> None:
    ended = run(LBNODE, "unload", "--config", config(directory))
    assert ended.returncode == 0, ended.stderr
