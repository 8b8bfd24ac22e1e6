"""`lbctl certs` as it is typed: files that a daemon takes, and refusals that leave everything as it was."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lbnode.certs.judgement import check_server
from lbnode.cli.ctl import app
from lbnode.daemon.credentials import Credentials
from lbnode.model.access import Role
from lbnode.settings.tls import TlsSettings
from tests.certificates import Authority


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert certs(tmp_path, "ca", "demo")[0] == 0
    return tmp_path


def certs(folder: Path, *words: str) -> tuple[int, str]:
    """Run `lbctl certs` on the files in `folder`; returns exit status and what it said."""
    result = CliRunner().invoke(app, ["certs", *words, "--dir", str(folder)])
    return result.exit_code, result.stdout + result.stderr


def shown(file: Path) -> str:
    result = CliRunner().invoke(app, ["certs", "show", str(file)])
    assert result.exit_code == 0
    return result.stdout


def files(folder: Path, name: str) -> TlsSettings:
    return TlsSettings(certificate=folder / f"{name}.crt", key=folder / f"{name}.key", ca=folder / "ca.crt")


def test_what_it_makes_for_a_node_a_node_takes(folder: Path) -> None:
    status, said = certs(folder, "issue", "demo", "node", "n1", "-a", "10.0.1.1", "-a", "n1.example.org")
    assert status == 0
    assert "node n1 of fleet demo, at 10.0.1.1, n1.example.org, until " in said
    Credentials(files(folder, "n1"), "rpc.tls", serves=True, check=lambda said: check_server(said, "demo"))


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    certs(folder, "issue", "demo", "operator", "alice")
    for name in ("ca.key", "alice.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_nothing_is_overwritten_unless_it_is_asked_for(folder: Path) -> None:
    certs(folder, "issue", "demo", "reader", "grafana")
    before = (folder / "grafana.crt").read_bytes()
    status, said = certs(folder, "issue", "demo", "reader", "grafana")
    assert status == 1
    assert "grafana.key exists: use another --dir, or --renew" in said
    assert (folder / "grafana.crt").read_bytes() == before
    assert certs(folder, "issue", "demo", "reader", "grafana", "--renew")[0] == 0
    assert (folder / "grafana.crt").read_bytes() != before
    assert certs(folder, "ca", "demo")[0] == 1


def test_a_node_without_an_address_could_not_be_asked(folder: Path) -> None:
    status, said = certs(folder, "issue", "demo", "node", "n1")
    assert status == 2
    assert "--address 10.0.1.1" in said
    assert not (folder / "n1.key").exists()


def test_without_an_authority_nothing_is_signed(tmp_path: Path) -> None:
    status, said = certs(tmp_path, "issue", "demo", "operator", "alice")
    assert status == 2
    assert f"authority: read {tmp_path}/ca.crt: No such file" in said


def test_show_tells_for_whom_and_until_when(folder: Path) -> None:
    certs(folder, "issue", "demo", "operator", "alice", "--days", "3")
    assert "operator alice of fleet demo, until " in shown(folder / "alice.crt")
    other = CliRunner().invoke(app, ["certs", "show", str(folder / "ca.crt")])
    assert other.exit_code == 1
    assert "no URI evenkeel://" in other.stderr


def test_a_certificate_is_revoked_by_its_name_and_a_renewed_one_is_not(folder: Path) -> None:
    certs(folder, "issue", "demo", "operator", "alice")
    for _ in range(2):
        status, said = certs(folder, "revoke", "alice")
        assert status == 0
        assert f"{folder}/revoked: " in said
    list_ = folder / "revoked"
    assert len(list_.read_text().splitlines()) == 1
    assert "operator alice of fleet demo, until " in list_.read_text()
    assert stat.S_IMODE(list_.stat().st_mode) == 0o644
    assert shown(folder / "alice.crt").strip().endswith(", REVOKED")
    certs(folder, "issue", "demo", "operator", "alice", "--renew")
    assert "REVOKED" not in shown(folder / "alice.crt")


def test_all_certificates_of_somebody_are_revoked_by_his_uri(folder: Path) -> None:
    certs(folder, "issue", "demo", "operator", "alice")
    list_ = folder / "elsewhere"
    list_.write_text("evenkeel://demo/operator/bob")
    assert certs(folder, "revoke", "evenkeel://demo/operator/alice", "--list", str(list_))[0] == 0
    assert list_.read_text().splitlines() == [
        "evenkeel://demo/operator/bob",
        "evenkeel://demo/operator/alice",
    ]


@pytest.mark.parametrize(
    ("who", "list_", "status", "reason"),
    [
        ("carol", "", 2, "carol.crt: No such file"),
        ("evenkeel://demo/root/alice", "", 2, "names nobody"),
        ("alice", "alice\n", 1, "line 1: 'alice' is neither a SHA-256 fingerprint nor"),
    ],
)
def test_what_cannot_be_revoked_leaves_the_list_as_it_was(
    folder: Path, who: str, list_: str, status: int, reason: str
) -> None:
    certs(folder, "issue", "demo", "operator", "alice")
    (folder / "revoked").write_text(list_)
    assert certs(folder, "revoke", who)[0] == status
    assert reason in certs(folder, "revoke", who)[1]
    assert (folder / "revoked").read_text() == list_


def test_where_nothing_can_be_made_it_says_what_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lbnode.certs.authority", None)
    status, said = certs(tmp_path, "ca", "demo")
    assert status == 1
    assert "certificates are made with the Python package" in said
    assert "pip install cryptography" in said


def test_an_expired_certificate_is_not_even_tried(folder: Path) -> None:
    authority = Authority(folder / "old")
    files = authority.write(authority.issue(Role.OPERATOR, "alice", days=-1))
    options = (f"--cert={files.certificate}", f"--key={files.key}", f"--ca={files.ca}")
    asked = CliRunner().invoke(app, ["--node", "192.0.2.1:7946", *options, "status"])
    assert asked.exit_code == 2
    assert "the certificate of operator alice of fleet demo expired on " in asked.stderr


def test_lbctl_asks_nobody_beyond_this_machine_without_certificates(folder: Path) -> None:
    asked = CliRunner().invoke(app, ["--node", "192.0.2.1:7946", "status"])
    assert asked.exit_code == 2
    assert "192.0.2.1:7946 is not this machine: give --cert, --key and --ca" in asked.stderr
    half = CliRunner().invoke(app, ["--node", "192.0.2.1:7946", "--cert", "a.crt", "status"])
    assert half.exit_code == 2
    assert "give all three, or none" in half.stderr
