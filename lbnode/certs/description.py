"""PEM into certificates and keys by `cryptography`, for those who make or show them."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lbnode.certs.errors import CertificateError
from lbnode.certs.judgement import Certificate
from lbnode.model.access import IdentityError, identity_among

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def describe(pem: bytes) -> Certificate:
    """Return what the first certificate in `pem` says, valid or not. Raises CertificateError."""
    first = read_certificate(pem)
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    try:
        identity = identity_among(names.get_values_for_type(x509.UniformResourceIdentifier))
    except IdentityError as error:
        raise CertificateError(str(error)) from error
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return Certificate(
        identity=identity,
        hosts=(*addresses, *names.get_values_for_type(x509.DNSName)),
        begins=first.not_valid_before_utc,
        ends=first.not_valid_after_utc,
    )


def read_certificate(pem: bytes) -> x509.Certificate:
    """Return the first certificate in `pem`. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError("no PEM certificate in it") from error


def read_key(pem: bytes) -> Key:
    """Return the private key in `pem`: ECDSA or RSA, not encrypted. Raises CertificateError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError("the key is encrypted: write it without a pass phrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("no PEM private key in it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError("the key is neither ECDSA nor RSA")
    return key
