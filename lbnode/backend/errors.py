"""What stops an agent."""

from __future__ import annotations

from lbnode.daemon.errors import DaemonError


class BackendError(DaemonError):
    """The agent cannot do its work on this machine; the message reads as a path and names the remedy."""
