"""What a certificate must be to be used: judged as a peer would, and told in words when it would not be believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lbnode.certs.authority import issue
from lbnode.certs.description import describe
from lbnode.certs.errors import CertificateError
from lbnode.certs.judgement import Certificate, check_server, judge
from lbnode.certs.pair import Pair
from lbnode.model.access import Identity, Role
from tests.certificates import DAY, Authority

NOW = datetime.now(UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def judged(made: Pair, ca: bytes, *, serves: bool = True) -> Certificate:
    return judge(made.certificate, made.key, ca, serves=serves, now=NOW)


def test_a_certificate_says_for_whom_where_and_until_when(authority: Authority) -> None:
    made = authority.issue(Role.NODE, "n1", days=100)
    said = judged(made, authority.pair.certificate)
    assert said.identity == Identity("demo", Role.NODE, "n1")
    assert said.hosts == ("127.0.0.1", "0:0:0:0:0:0:0:1")
    assert abs(said.ends - NOW - 100 * DAY) < DAY
    shown = describe(made.certificate)
    assert (shown.identity, shown.begins, shown.ends) == (said.identity, said.begins, said.ends)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.READER, Role.BACKEND])
def test_only_nodes_can_serve_and_everybody_can_ask(authority: Authority, role: Role) -> None:
    made, ca = authority.issue(role, "x"), authority.pair.certificate
    assert judged(made, ca, serves=False).identity.role is role
    with pytest.raises(CertificateError, match="may not be used by a server"):
        judged(made, ca)
    assert judged(authority.issue(Role.NODE, "n1"), ca, serves=False).identity.role is Role.NODE


def test_an_expired_certificate_is_named_with_its_day(authority: Authority) -> None:
    made = authority.issue(Role.NODE, "n1", days=-1)
    day = f"{NOW - DAY:%Y-%m-%d}"
    with pytest.raises(CertificateError, match=f"certificate of node n1 of fleet demo expired on {day}"):
        judged(made, authority.pair.certificate)


def test_a_certificate_of_tomorrow_asks_for_the_clock(authority: Authority) -> None:
    made = issue(authority.pair, Identity("demo", Role.NODE, "n1"), ["n1"], NOW + DAY, DAY)
    with pytest.raises(CertificateError, match="check the clock"):
        judged(made, authority.pair.certificate)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.issue(Role.NODE, "n1"), authority.issue(Role.NODE, "n2")
    with pytest.raises(CertificateError, match="the key is not that of the certificate"):
        judged(Pair(one.certificate, other.key), authority.pair.certificate)


def test_the_fleets_authority_must_stand_behind_it(authority: Authority, tmp_path: Path) -> None:
    made = authority.issue(Role.NODE, "n1")
    stranger = Authority(tmp_path, fleet="other")
    with pytest.raises(CertificateError, match="not signed by an authority in the ca file"):
        judged(made, stranger.pair.certificate)
    judged(made, stranger.pair.certificate + authority.pair.certificate)


def test_an_authority_that_has_ended_stands_behind_nothing(tmp_path: Path) -> None:
    ended = Authority(tmp_path, began=NOW - 1001 * DAY)
    begun = ended.began
    made = issue(ended.pair, Identity("demo", Role.NODE, "n1"), ["n1"], begun, 900 * DAY)
    with pytest.raises(CertificateError, match="expired on"):
        judged(made, ended.pair.certificate)
    outlived = _signed_beyond_its_time(ended)
    with pytest.raises(
        CertificateError, match=r"one of the authorities behind node n1 .*certificate has expired"
    ):
        judged(outlived, ended.pair.certificate)


def _signed_beyond_its_time(ended: Authority) -> Pair:
    """What the authority of somebody without our care would make: a certificate that outlives its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(ended.pair.certificate)
    signer = serialization.load_pem_private_key(ended.pair.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return _made(["evenkeel://demo/node/n1"], key, ca.subject, signer)


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


def _made(
    uris: list[str],
    key: Key,
    issuer: x509.Name | None = None,
    signer: ec.EllipticCurvePrivateKey | None = None,
) -> Pair:
    """What an authority makes that has never heard of us: self-signed if none is named, with `uris` for names."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host.example.org")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signer or key, hashes.SHA256())
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


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
    made = _made(uris, ec.generate_private_key(ec.SECP256R1()))
    looks: tuple[Callable[[], object], ...] = (
        lambda: judged(made, made.certificate),
        lambda: describe(made.certificate),
    )
    for look in looks:
        with pytest.raises(CertificateError) as caught:
            look()
        assert reason in str(caught.value)


def test_a_certificate_of_ones_own_authority_needs_but_the_uri() -> None:
    uris = ["spiffe://example.org/web", "evenkeel://demo/operator/alice"]
    made = _made(uris, rsa.generate_private_key(65537, 2048))
    assert judged(made, made.certificate, serves=False).identity == Identity("demo", Role.OPERATOR, "alice")


def test_what_is_no_certificate_or_key_is_told_as_that(authority: Authority) -> None:
    made, ca = authority.issue(Role.NODE, "n1"), authority.pair.certificate
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )
    broken = made.certificate[:200] + made.certificate[-40:]
    for certificate, key, authorities, reason in (
        (made.key, made.key, ca, "no PEM certificate in it"),
        (made.certificate, made.certificate, ca, "no PEM private key"),
        (made.certificate, made.key, b"", "no PEM certificate in the authorities' file"),
        (made.certificate, locked, ca, "encrypted"),
        (broken, made.key, ca, "cannot be read"),
    ):
        with pytest.raises(CertificateError, match=reason):
            judge(certificate, key, authorities, serves=True, now=NOW)
