"""PEM into certificates and keys, with errors that say what the file holds instead."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lbnode.certs.errors import CertificateError

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates in `pem`, at least one. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"no PEM certificate in it ({_short(error)})") from error


def read_key(pem: bytes) -> Key:
    """Return the private key in `pem`: ECDSA or RSA, not encrypted. Raises CertificateError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError(
            "the key is encrypted: write it without a pass phrase, readable by the daemon alone"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"no PEM private key in it ({_short(error)})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError("the key is neither ECDSA nor RSA")
    return key


def _short(error: Exception) -> str:
    return str(error).partition(".")[0].partition("\n")[0][:80] or type(error).__name__
