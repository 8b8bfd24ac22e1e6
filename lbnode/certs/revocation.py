"""Certificates that count no more, although they are signed and have not ended: a list in a file, one a line.

    9f86d081…0f00a08  operator alice of fleet demo     the SHA-256 fingerprint of one certificate
    evenkeel://demo/operator/bob                       every certificate of that bearer, also those of tomorrow

What stands behind the first word is for people. Fingerprints are those that `openssl x509 -fingerprint -sha256` shows.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from lbnode.certs.errors import CertificateError
from lbnode.model.access import SCHEME, Identity, IdentityError, read_identity

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Revoked:
    """Whose certificates, and which, count no more."""

    fingerprints: frozenset[str] = frozenset()
    bearers: frozenset[Identity] = frozenset()

    def covers(self, certificate: bytes, bearer: Identity) -> bool:
        """Whether the first certificate in this PEM text, which is `bearer`'s, counts no more."""
        return bearer in self.bearers or (
            bool(self.fingerprints) and fingerprint(certificate) in self.fingerprints
        )


def fingerprint(pem: bytes) -> str:
    """Return the SHA-256 of the first certificate in `pem`, in hexadecimal. Raises CertificateError."""
    first = _FIRST.search(pem)
    if first is None:
        raise CertificateError("no PEM certificate in it")
    return sha256(ssl.PEM_cert_to_DER_cert(first[0].decode("ascii"))).hexdigest()


def read_revoked(text: str) -> Revoked:
    """Return what a list says. Raises CertificateError: a list that is not understood whole is no list."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    words = [(number, parts[0]) for number, parts in lines if parts and not parts[0].startswith("#")]
    fingerprints = {word for _, word in words if _FINGERPRINT.fullmatch(word)}
    return Revoked(frozenset(fingerprints), frozenset(_bearers(words)))


def _bearers(words: Iterable[tuple[int, str]]) -> Iterable[Identity]:
    for number, word in words:
        if _FINGERPRINT.fullmatch(word):
            continue
        try:
            yield read_identity(word)
        except IdentityError as error:
            raise CertificateError(
                f"line {number}: {word!r} is neither a SHA-256 fingerprint nor {SCHEME}FLEET/ROLE/NAME"
            ) from error
