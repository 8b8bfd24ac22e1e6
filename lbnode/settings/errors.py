"""What is wrong with settings, apart from what reads them: `lbctl` starts without the libraries of daemons."""

from __future__ import annotations


class BadSettingsError(Exception):
    """Settings that cannot be used. One line for each complaint: file, field, reason, remedy."""
