"""What can be wrong with a certificate, in words an operator can act on."""

from __future__ import annotations


class CertificateError(Exception):
    """A certificate, key or authority that cannot be used, or not be made."""
