"""What a certificate says and whether it can be used here and now: found out before anybody is asked to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from lbnode.certs.errors import CertificateError
from lbnode.certs.reading import read_certificates, read_key
from lbnode.model.access import Identity, IdentityError, Role, identity_among

LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Times are UTC; `hosts` those under which its bearer may be asked."""

    identity: Identity
    issuer: str
    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime
    can_serve: bool


def describe(certificate: bytes) -> Certificate:
    """Return what the first certificate in the PEM says. Raises CertificateError."""
    first, *_ = read_certificates(certificate)
    names = _names(first)
    try:
        identity = identity_among(names.get_values_for_type(x509.UniformResourceIdentifier))
    except IdentityError as error:
        raise CertificateError(str(error)) from error
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return Certificate(
        identity=identity,
        issuer=first.issuer.rfc4514_string(),
        hosts=(*addresses, *names.get_values_for_type(x509.DNSName)),
        begins=first.not_valid_before_utc,
        ends=first.not_valid_after_utc,
        can_serve=_can_serve(first),
    )


def check_pair(certificate: bytes, key: bytes, now: datetime) -> Certificate:
    """Return what the certificate says if it is valid `now` and `key` is its key. Raises CertificateError."""
    first, *_ = read_certificates(certificate)
    said = describe(certificate)
    if now > said.ends:
        raise CertificateError(f"the certificate of {said.identity} expired on {_minute(said.ends)}")
    if now < said.begins:
        raise CertificateError(
            f"the certificate of {said.identity} is valid from {_minute(said.begins)} on, "
            f"and it is {_minute(now)} here: check the clock"
        )
    if read_key(key).public_key() != first.public_key():
        raise CertificateError(f"the key is not that of the certificate of {said.identity}")
    return said


def check_issuer(certificate: bytes, authorities: bytes, now: datetime) -> None:
    """Raise CertificateError unless one of the authorities, valid `now`, stands behind the certificate."""
    chain, roots = read_certificates(certificate), read_certificates(authorities)
    link = chain[0]
    for _ in range(LONGEST_CHAIN):
        root = _issuer(link, roots)
        if root is not None:
            if now > root.not_valid_after_utc:
                raise CertificateError(f"the authority itself expired on {_minute(root.not_valid_after_utc)}")
            return
        between = _issuer(link, chain)
        if between is None or between == link:
            break
        link = between
    known = ", ".join(root.subject.rfc4514_string() for root in roots)
    raise CertificateError(
        f"the certificate is signed by {chain[0].issuer.rfc4514_string()}, not by the fleet's authority ({known})"
    )


def check_server(said: Certificate, fleet: str) -> None:
    """Raise CertificateError unless a node of `fleet` can serve with the certificate."""
    if said.identity.fleet != fleet:
        raise CertificateError(f"it is for {said.identity}, and this node belongs to fleet {fleet}")
    if said.identity.role is not Role.NODE or not said.can_serve:
        raise CertificateError(f"it is for {said.identity}: a node needs one of role node, for serving")
    if not said.hosts:
        raise CertificateError(f"it names no address under which {said.identity} could be asked")


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])
    except ValueError as error:
        raise CertificateError(f"its extensions cannot be read: {error}") from error


def _can_serve(certificate: x509.Certificate) -> bool:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in purposes


def _issuer(certificate: x509.Certificate, among: Sequence[x509.Certificate]) -> x509.Certificate | None:
    for candidate in among:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return candidate
    return None


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
