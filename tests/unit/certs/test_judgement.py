from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lbnode.certs.authority import Pair, issue
from lbnode.certs.errors import CertificateError
from lbnode.certs.judgement import check_issuer, check_pair, check_server, describe
from lbnode.model.access import Identity, Role
from tests.certificates import DAY, Authority

NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_certificate_says_for_whom_where_and_until_when(authority: Authority) -> None:
    said = describe(authority.issue(Role.NODE, "n1", days=100).certificate)
    assert said.identity == Identity("demo", Role.NODE, "n1")
    assert said.hosts == ("127.0.0.1", "::1")
    assert abs(said.ends - NOW - 100 * DAY) < DAY
    assert said.can_serve
    assert not describe(authority.issue(Role.OPERATOR, "alice").certificate).can_serve


def test_an_expired_certificate_is_named_with_its_day(authority: Authority) -> None:
    made = authority.issue(Role.NODE, "n1", days=-1)
    day = f"{NOW - DAY:%Y-%m-%d}"
    with pytest.raises(CertificateError, match=f"certificate of node n1 of fleet demo expired on {day}"):
        check_pair(made.certificate, made.key, NOW)


def test_a_certificate_of_tomorrow_asks_for_the_clock(authority: Authority) -> None:
    made = issue(authority.pair, Identity("demo", Role.NODE, "n1"), ["n1"], NOW + DAY, DAY)
    with pytest.raises(CertificateError, match="check the clock"):
        check_pair(made.certificate, made.key, NOW)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.issue(Role.NODE, "n1"), authority.issue(Role.NODE, "n2")
    with pytest.raises(CertificateError, match="not that of the certificate of node n1"):
        check_pair(one.certificate, other.key, NOW)


def test_the_fleets_authority_must_stand_behind_it(authority: Authority, tmp_path: Path) -> None:
    made = authority.issue(Role.NODE, "n1")
    check_issuer(made.certificate, authority.pair.certificate, NOW)
    stranger = Authority(tmp_path)
    with pytest.raises(CertificateError, match="not by the fleet's authority"):
        check_issuer(made.certificate, stranger.pair.certificate, NOW)
    both = stranger.pair.certificate + authority.pair.certificate
    check_issuer(made.certificate, both, NOW)


def test_an_authority_that_has_ended_stands_behind_nothing(authority: Authority) -> None:
    made = authority.issue(Role.NODE, "n1")
    with pytest.raises(CertificateError, match="the authority itself expired"):
        check_issuer(made.certificate, authority.pair.certificate, NOW + 2000 * DAY)


def test_nobody_gets_a_certificate_that_outlives_the_authority(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="the authority itself ends on"):
        authority.issue(Role.NODE, "n1", days=2000)


def test_an_authority_with_anothers_key_signs_nothing(authority: Authority, tmp_path: Path) -> None:
    mixed = Pair(authority.pair.certificate, Authority(tmp_path).pair.key)
    with pytest.raises(CertificateError, match="not that of its certificate"):
        issue(mixed, Identity("demo", Role.NODE, "n1"), ["n1"], NOW, DAY)


@pytest.mark.parametrize(
    ("role", "fleet", "reason"),
    [(Role.OPERATOR, "demo", "a node needs one of role node"), (Role.NODE, "other", "belongs to fleet demo")],
)
def test_a_node_serves_with_its_own_kind_of_certificate_alone(
    authority: Authority, role: Role, fleet: str, reason: str
) -> None:
    said = describe(authority.issue(role, "n1", fleet=fleet).certificate)
    with pytest.raises(CertificateError, match=reason):
        check_server(said, "demo")
    check_server(describe(authority.issue(Role.NODE, "n1").certificate), "demo")


def foreign(uris: list[str], key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """What an authority that has never heard of us makes: self-signed, with `uris` for names."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host.example.org")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ([], "no URI evenkeel://FLEET/ROLE/NAME"),
        (["spiffe://example.org/web"], "no URI"),
        (
            ["evenkeel://demo/root/alice"],
            "names nobody: it must be evenkeel://FLEET/operator|reader|node|backend/NAME",
        ),
        (["evenkeel://demo/node/"], "use 1 to 63 letters"),
        (["evenkeel://demo/node/a", "evenkeel://demo/operator/a"], "several URIs"),
    ],
)
def test_a_certificate_that_names_nobody_of_ours_says_what_is_missing(uris: list[str], reason: str) -> None:
    with pytest.raises(CertificateError) as caught:
        describe(foreign(uris, ec.generate_private_key(ec.SECP256R1())))
    assert reason in str(caught.value)


def test_a_certificate_of_ones_own_authority_needs_but_the_uri() -> None:
    key = rsa.generate_private_key(65537, 2048)
    certificate = foreign(["spiffe://example.org/web", "evenkeel://demo/operator/alice"], key)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert check_pair(certificate, pem, NOW).identity == Identity("demo", Role.OPERATOR, "alice")
    check_issuer(certificate, certificate, NOW)


def test_what_is_no_certificate_or_key_is_told_as_that(authority: Authority) -> None:
    made = authority.issue(Role.NODE, "n1")
    with pytest.raises(CertificateError, match="no PEM certificate"):
        check_pair(made.key, made.key, NOW)
    with pytest.raises(CertificateError, match="no PEM private key"):
        check_pair(made.certificate, made.certificate, NOW)
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )
    with pytest.raises(CertificateError, match="encrypted"):
        check_pair(made.certificate, locked, NOW)
