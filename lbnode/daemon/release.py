"""Which release this process runs, looked up once: the search in the installed packages takes milliseconds."""

from __future__ import annotations

from importlib.metadata import version

RELEASE = version("evenkeel")
