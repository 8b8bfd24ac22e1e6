"""Compose of version 2, which Debian 12 does not have: a later Debian's package, unpacked beside and not installed.

By an apt of its own, with lists and cache in a scratch directory: signatures are checked, and this machine's own
packages never hear of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.compose.base import CACHE, MIRROR
from tests.compose.shell import run

SUITE = "trixie"
PACKAGE = "docker-compose"
BINARY = Path("usr/libexec/docker/cli-plugins/docker-compose")
FETCH_S = 180.0


def binary(scratch: Path) -> Path:
    """Return the plugin's program, which works alone, unpacked in `scratch` or found in the cache."""
    kept = CACHE / "docker-compose-2"
    if kept.exists():
        return kept
    run(["dpkg-deb", "-x", _fetched(scratch), scratch / "unpacked"])
    made = scratch / "unpacked" / BINARY
    if not CACHE.is_dir():
        return made
    shutil.copy(made, kept.with_suffix(".new"))
    return kept.with_suffix(".new").rename(kept)


def _fetched(scratch: Path) -> Path:
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    sources = scratch / "sources.list"
    sources.write_text(f"deb {MIRROR} {SUITE} main\n")
    own = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    options = [f"--option={name}={value}" for name, value in own.items()]
    run(["apt-get", *options, "update"], timeout_s=FETCH_S)
    run(["apt-get", *options, "download", PACKAGE], timeout_s=FETCH_S, directory=scratch)
    (package,) = scratch.glob(f"{PACKAGE}_*.deb")
    return package
