"""Certificates in files: judged before use, taken up when renewed, complained about in time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lbnode.certs.judgement import check_server
from lbnode.daemon.credentials import Credentials
from lbnode.model.access import Role
from lbnode.settings.source import BadSettingsError
from lbnode.settings.tls import TlsSettings
from tests.certificates import DAY, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def written(authority: Authority, role: Role = Role.NODE, days: float = 100, fleet: str = "") -> TlsSettings:
    return authority.write(authority.issue(role, "n1", days, fleet))


def open_node(settings: TlsSettings) -> Credentials:
    return Credentials(settings, "rpc.tls", serves=True, check=lambda said: check_server(said, "demo"))


def test_good_files_are_used_as_they_are(authority: Authority) -> None:
    settings = written(authority)
    credentials = open_node(settings)
    assert credentials.current().key == settings.key.read_bytes()
    assert credentials.fleet == "demo"
    assert not [*credentials.alarms()]


@pytest.mark.parametrize(
    ("role", "days", "fleet", "reason"),
    [
        (
            Role.NODE,
            -1,
            "",
            r"own.crt: the certificate of node n1 of fleet demo expired on .*; make another: lbctl",
        ),
        (Role.OPERATOR, 9, "", r"it may not be used by a server"),
        (Role.NODE, 9, "other", r"this node belongs to fleet demo"),
    ],
)
def test_files_of_no_use_are_refused_at_the_start(
    authority: Authority, role: Role, days: int, fleet: str, reason: str
) -> None:
    with pytest.raises(BadSettingsError, match=reason):
        open_node(written(authority, role, days, fleet))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_touch_is_refused(authority: Authority, mode: int) -> None:
    settings = written(authority)
    settings.key.chmod(mode)
    with pytest.raises(BadSettingsError, match=r"rpc.tls.key: .*own.key is open to other users: chmod 600"):
        open_node(settings)


def test_a_key_that_belongs_to_somebody_else_is_refused_but_to_root(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = written(authority)
    os.chown(settings.key, 65534, 65534)
    open_node(settings)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BadSettingsError, match="belongs to user 65534"):
        open_node(settings)


def test_authorities_that_everybody_may_replace_are_refused(authority: Authority) -> None:
    settings = written(authority)
    settings.ca.chmod(0o666)
    with pytest.raises(BadSettingsError, match=r"rpc.tls.ca: .* can be written by everybody: chmod o-w"):
        open_node(settings)


def test_a_missing_file_is_named(authority: Authority) -> None:
    settings = written(authority)
    settings.certificate.unlink()
    with pytest.raises(BadSettingsError, match=r"rpc.tls.certificate: read .*own.crt: No such file"):
        open_node(settings)


def test_half_a_renewal_changes_nothing_and_the_other_half_completes_it(authority: Authority) -> None:
    settings = written(authority)
    credentials = open_node(settings)
    before = credentials.current()
    renewed = authority.issue(Role.NODE, "n1")
    settings.certificate.write_bytes(renewed.certificate)
    assert credentials.current() == before
    assert "the key is not that of the certificate" in "".join(credentials.alarms())
    settings.key.write_bytes(renewed.key)
    assert credentials.current().certificate == renewed.certificate
    assert not [*credentials.alarms()]


def test_a_certificate_that_ends_soon_is_an_alarm_before_and_after(authority: Authority) -> None:
    settings = written(authority, days=30)
    at = datetime.now(UTC)

    def alarm(later: int) -> str:
        nonlocal at
        at = datetime.now(UTC) + later * DAY
        return "".join(credentials.alarms())

    credentials = Credentials(settings, "rpc.tls", clock=lambda: at)
    assert alarm(10) == ""
    assert alarm(20).startswith("rpc.tls: the certificate of node n1 of fleet demo expires in 9 days, on ")
    assert "node n1 of fleet demo expired on " in alarm(31)
    assert "renew " in alarm(31)
