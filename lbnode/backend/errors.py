"""What stops an agent."""

from __future__ import annotations


class BackendError(Exception):
    """The agent cannot do its work on this machine; the message reads as a path and names the remedy."""
