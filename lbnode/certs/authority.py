"""A fleet's own certificate authority: made once, and asked for a certificate for each node and operator.

Keys are ECDSA on P-256. Nodes get certificates with which they can serve, everybody else some with which he can
only ask: an operator's stolen key is no way to pose as a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lbnode.certs.description import read_certificate, read_key
from lbnode.certs.errors import CertificateError
from lbnode.certs.pair import Pair
from lbnode.model.access import Identity, Role

BACKDATED = timedelta(minutes=10)
"""Certificates begin this much in the past: clocks of a fleet need not agree to the second."""


def make_authority(fleet: str, now: datetime, life: timedelta) -> Pair:
    """Return a new authority that may sign certificates for hosts and people, and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"evenkeel {fleet} CA")
    builder = (
        _begun(name, name, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Pair, identity: Identity, hosts: Sequence[str], now: datetime, life: timedelta) -> Pair:
    """Return a certificate for `identity`; `hosts` are the addresses and names under which a node is asked.

    Raises CertificateError: an authority that cannot sign, or that ends before the certificate would.
    """
    ca, ca_key = _authority(authority)
    if now + life > ca.not_valid_after_utc:
        raise CertificateError(
            f"the authority itself ends on {ca.not_valid_after_utc:%Y-%m-%d}: ask for fewer days, or make a new one"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri), *map(_host, hosts)]
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role is Role.NODE:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _begun(_name(identity.name), ca.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def _authority(pair: Pair) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
    certificate = read_certificate(pair.certificate)
    key = read_key(pair.key)
    if key.public_key() != certificate.public_key():
        raise CertificateError("the authority's key is not that of its certificate: bring back the right one")
    return certificate, key


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(f"{host!r} is neither an address nor a host name") from error


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
