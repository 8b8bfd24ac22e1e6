"""Whether a file is still the one that was read."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int]
"""What shows that a file was replaced or written: inode, size and time of the last change, of rights too."""


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file now; a missing one has its own."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_ctime_ns
