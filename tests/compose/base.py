"""A stand-in for `debian:bookworm-slim` where no registry can be reached: Debian's own packages, by debootstrap.

It carries this machine's certificate bundle and a pip configuration that names it, because a build may have to get out
through whatever this machine gets out through. Nothing of that is in the Dockerfiles.
"""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

from tests.compose.shell import run

IMAGE = "debian:bookworm-slim"
CACHE = Path("/var/cache/evenkeel")
"""Where the archive is kept from one run to the next, if an administrator has made the directory."""

FORM = 2
"""Counts up when the archive is made in another way: the one in the cache is made anew then."""

MIRROR = "http://deb.debian.org/debian"
BUNDLE = Path("usr/local/share/evenkeel-test/ca.crt")
AS_PUBLISHED = {
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
}
"""What the published image has, too: no wait for the disk after each file of a package, and no translations."""

UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")
DEBOOTSTRAP_S = 400.0


def archive(scratch: Path) -> Path:
    """Return a tar archive of the image's file system, made in `scratch` or found in the cache."""
    kept = CACHE / f"bookworm-slim-{FORM}.tar"
    if kept.exists():
        return kept
    root, made = scratch / "root", scratch / "bookworm-slim.tar"
    run(["debootstrap", "--variant=minbase", "bookworm", root, MIRROR], timeout_s=DEBOOTSTRAP_S)
    for folder in UNNEEDED:
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    for path, text in AS_PUBLISHED.items():
        (root / path).write_text(text)
    _trust(root)
    run(["tar", "-C", root, "-cf", made, "."], timeout_s=120)
    shutil.rmtree(root)
    if CACHE.is_dir():
        shutil.move(made, kept.with_suffix(".new"))
        kept.with_suffix(".new").rename(kept)
        return kept
    return made


def _trust(root: Path) -> None:
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        return
    (root / BUNDLE).parent.mkdir(parents=True)
    shutil.copyfile(bundle, root / BUNDLE)
    (root / "etc/pip.conf").write_text(f"[global]\ncert = /{BUNDLE}\n")
