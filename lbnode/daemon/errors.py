"""What keeps a daemon from running."""

from __future__ import annotations


class DaemonError(Exception):
    """A daemon cannot work on this machine; the message reads as a path and names the remedy."""
