"""Which certificates a list of revoked ones covers, and lists that are none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lbnode.certs.errors import CertificateError
from lbnode.certs.revocation import Revoked, fingerprint, read_revoked
from lbnode.model.access import Identity, Role
from tests.certificates import Authority

ALICE = Identity("demo", Role.OPERATOR, "alice")
BOB = Identity("demo", Role.OPERATOR, "bob")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_one_certificate_is_revoked_and_the_next_of_its_bearer_is_not(authority: Authority) -> None:
    lost, renewed = (authority.issue(Role.OPERATOR, "alice").certificate for _ in range(2))
    revoked = read_revoked(f"# a laptop\n\n{fingerprint(lost)}  {ALICE}\n")
    assert revoked.covers(lost, ALICE)
    assert not revoked.covers(renewed, ALICE)


def test_a_bearer_is_revoked_with_all_his_certificates_and_nobody_else_is(authority: Authority) -> None:
    revoked = read_revoked(f"{BOB.uri}\n")
    assert revoked.covers(authority.issue(Role.OPERATOR, "bob").certificate, BOB)
    assert not revoked.covers(authority.issue(Role.OPERATOR, "alice").certificate, ALICE)


def test_an_empty_list_revokes_nothing() -> None:
    assert read_revoked("# none yet\n") == Revoked()


def test_the_fingerprint_is_openssls_also_of_a_chain_with_words_before_it(
    authority: Authority, tmp_path: Path
) -> None:
    made = authority.issue(Role.NODE, "n1").certificate
    file = tmp_path / "n1.crt"
    file.write_bytes(made)
    words = ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.partition("=")[2].strip().replace(":", "").lower() == fingerprint(made)
    assert fingerprint(b"subject=CN = n1\n" + made + authority.pair.certificate) == fingerprint(made)


@pytest.mark.parametrize("word", ["alice", "9f86d081", "evenkeel://demo/root/alice", "9F" * 32])
def test_a_list_with_a_line_that_names_nothing_is_refused_whole(word: str) -> None:
    with pytest.raises(CertificateError, match=f"line 2: '{word}' is neither a SHA-256 fingerprint nor"):
        read_revoked(f"# list\n{word} lost\n")


def test_what_is_no_certificate_has_no_fingerprint() -> None:
    with pytest.raises(CertificateError, match="no PEM certificate"):
        fingerprint(b"-----BEGIN CERTIFICATE-----\n")
