"""The list of revoked certificates in its file: taken up when it changes, and left as it was when it is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbnode.certs.revocation import Revoked
from lbnode.daemon.credentials import Credentials
from lbnode.daemon.revocations import Revocations
from lbnode.model.access import Identity, Role
from lbnode.settings.secret import MOST_BYTES
from lbnode.settings.source import BadSettingsError
from tests.certificates import Authority

WHERE = "rpc.tls.revoked"
N1 = Identity("demo", Role.NODE, "n1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "revoked"
    file.write_text(f"{N1.uri}\n")
    return file


def test_without_a_list_nothing_is_revoked() -> None:
    assert Revocations(None, WHERE).current() == Revoked()


def test_what_is_written_into_the_list_counts_at_once(file: Path) -> None:
    revocations = Revocations(file, WHERE)
    assert revocations.current().bearers == {N1}
    file.write_text("")
    assert revocations.current() == Revoked()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"mallory\n", "line 1: 'mallory' is neither"), (b"\xff", "decode"), (b"#" * MOST_BYTES, "too long")],
)
def test_a_list_of_no_use_is_refused_at_the_start_and_later_leaves_the_one_before(
    file: Path, content: bytes, reason: str
) -> None:
    revocations = Revocations(file, WHERE)
    file.write_bytes(content)
    assert revocations.current().bearers == {N1}
    assert revocations.complaint.startswith(f"{WHERE}: {file}: ")
    assert reason in revocations.complaint
    with pytest.raises(BadSettingsError, match=reason):
        Revocations(file, WHERE)
    file.write_text("")
    assert revocations.current() == Revoked()
    assert revocations.complaint == ""


def test_a_list_that_is_gone_goes_on_to_count_and_is_missed(file: Path) -> None:
    revocations = Revocations(file, WHERE)
    file.unlink()
    assert revocations.current().bearers == {N1}
    assert "No such file" in revocations.complaint


def test_a_node_whose_own_certificate_was_revoked_says_so(file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "fleet")
    credentials = Credentials(authority.write(authority.issue(Role.NODE, "n1")), "rpc.tls", revoked=file)
    assert "the certificate of node n1 of fleet demo was revoked: renew " in "".join(credentials.alarms())
    file.write_text("mallory")
    assert "'mallory' is neither" in "".join(credentials.alarms())
