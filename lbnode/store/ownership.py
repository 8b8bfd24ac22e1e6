"""Whose files are believed."""

from __future__ import annotations

import os


def is_ours(owner: int) -> bool:
    """Whether a file of this user id was written by root or by this process's own user."""
    return owner in (0, os.geteuid())
