"""What this process may do, kept to itself."""

from __future__ import annotations

import ctypes

PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_libc = ctypes.CDLL(None, use_errno=True)


def keep_from_children() -> None:
    """Let processes that are started from now on have none of this one's capabilities (capabilities(7), ambient).

    For a process that is not root; the capabilities that it has in effect stay.
    """
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
