"""Whether a certificate can be used here and now, and what it says: found out before a peer has to.

By a TLS handshake in memory in which both sides show the certificate: what one side believes of it, a peer would too.
First without regard to time, so that an expired certificate can still be named; then with.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lbnode.certs.errors import CertificateError
from lbnode.model.access import Identity, IdentityError, Role, identity_among

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, X509_VERIFY_PARAM_set_flags(3); the ssl module has no name for it."""

Peer = dict[str, Any]
"""What `ssl.SSLObject.getpeercert` tells of a certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Times are UTC; `hosts` are those under which its bearer may be asked."""

    identity: Identity
    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime


def judge(certificate: bytes, key: bytes, authorities: bytes, *, serves: bool, now: datetime) -> Certificate:
    """Return what a certificate says that a peer would believe; all PEM. Raises CertificateError.

    `serves`: as a server's certificate, not as a client's.
    """
    _check_pem(certificate, key)
    with _file(certificate) as chain, _file(key) as private:
        said = _read(_handshake(chain, private, authorities, serves, NO_CHECK_TIME))
        if now > said.ends:
            raise CertificateError(f"the certificate of {said.identity} expired on {_minute(said.ends)}")
        if now < said.begins:
            raise CertificateError(
                f"the certificate of {said.identity} is valid from {_minute(said.begins)} on, "
                f"and it is {_minute(now)} here: check the clock"
            )
        try:
            _handshake(chain, private, authorities, serves, 0)
        except CertificateError as error:
            raise CertificateError(f"one of the authorities behind {said.identity}: {error}") from error
    return said


def check_server(said: Certificate, fleet: str) -> None:
    """Raise CertificateError unless a node of `fleet` can serve with the certificate."""
    if said.identity.fleet != fleet:
        raise CertificateError(f"it is for {said.identity}, and this node belongs to fleet {fleet}")
    if said.identity.role is not Role.NODE:
        raise CertificateError(f"it is for {said.identity}: a node needs one of role node")
    if not said.hosts:
        raise CertificateError(f"it names no address under which {said.identity} could be asked")


def _check_pem(certificate: bytes, key: bytes) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise CertificateError("no PEM certificate in it")
    if b"PRIVATE KEY-----" not in key:
        raise CertificateError("no PEM private key in the key's file")


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A file in memory: the ssl module reads certificates and keys from paths alone."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _handshake(chain: str, private: str, authorities: bytes, serves: bool, flags: int) -> Peer:
    """Return what the side that looks sees. Raises CertificateError."""
    server, client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
    looks = client if serves else server
    looks.verify_mode = ssl.CERT_REQUIRED
    looks.verify_flags |= flags
    try:
        looks.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError("no PEM certificate in the authorities' file") from error
    for side in (server, client):
        _load(side, chain, private)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True))
    try:
        _shake(*sides)
    except ssl.SSLError as error:
        raise CertificateError(_words(error, serves)) from error
    return sides[0 if serves else 1].getpeercert() or {}


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _load(context: ssl.SSLContext, chain: str, private: str) -> None:
    asked = False

    def no_phrase() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        context.load_cert_chain(chain, private, no_phrase)
    except ssl.SSLError as error:
        if asked:
            raise CertificateError("the key is encrypted: write it without a pass phrase") from error
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError("the key is not that of the certificate") from error
        raise CertificateError(f"the certificate or its key cannot be read ({error.reason})") from error


def _shake(*sides: ssl.SSLObject) -> None:
    """Let both sides go on in turn until both are done."""
    left = list(sides)
    while left:
        for side in tuple(left):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(side)


def _words(error: ssl.SSLError, serves: bool) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"no handshake is possible with it ({error.reason})"
    if "purpose" in error.verify_message:
        return f"it may not be used by a {'server' if serves else 'client'} (extended key usage)"
    if "issuer" in error.verify_message or "self" in error.verify_message:
        return f"it is not signed by an authority in the ca file ({error.verify_message})"
    return error.verify_message


def _read(peer: Peer) -> Certificate:
    names = [(kind, str(name)) for kind, name in peer.get("subjectAltName", ())]
    try:
        identity = identity_among(name for kind, name in names if kind == "URI")
    except IdentityError as error:
        raise CertificateError(str(error)) from error
    hosts = tuple(name for kind, name in names if kind in ("IP Address", "DNS"))
    return Certificate(identity, hosts, _time(peer["notBefore"]), _time(peer["notAfter"]))


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
