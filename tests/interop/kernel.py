"""Debian 12's stock kernel, as its package has it: fetched, unpacked, never installed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "linux-image-amd64"
FETCH_S = 300


@dataclass(frozen=True, slots=True)
class Kernel:
    """`image`: what boots. `modules`: the directory that belongs at /lib/modules."""

    version: str
    image: Path
    modules: Path

    def closure(self, names: tuple[str, ...]) -> list[Path]:
        """Return the files of the modules and of all that they need, in the order of loading."""
        needs = self._needs()
        files = {Path(file).stem.replace("-", "_"): file for file in needs}
        order: list[str] = []
        for name in names:
            order += [file for file in (*reversed(needs[files[name]]), files[name]) if file not in order]
        return [self.modules / self.version / file for file in order]

    def _needs(self) -> dict[str, list[str]]:
        lines = (self.modules / self.version / "modules.dep").read_text().splitlines()
        return {file: rest.split() for file, _, rest in (line.partition(":") for line in lines)}


def fetch(cache: Path) -> Kernel:
    """Return the stock kernel, unpacked in `cache`; what is there already is used again."""
    found = _unpacked(cache)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "-q", _package(), where=cache)
        for archive in cache.glob("*.deb"):
            _run("dpkg", "-x", archive.name, ".", where=cache)
            archive.unlink()
        found = _unpacked(cache)
    assert found is not None, f"{cache}: {PACKAGE} contains no kernel"
    if not (found.modules / found.version / "modules.dep").exists():
        _run("depmod", "-b", ".", found.version, where=cache)
    return found


def _package() -> str:
    """Return what the package that always depends on the newest kernel depends on now."""
    said = _run("apt-cache", "depends", PACKAGE, where=Path("/"))
    return next(line.split()[-1] for line in said.splitlines() if "Depends:" in line)


def _unpacked(cache: Path) -> Kernel | None:
    for image in cache.glob("boot/vmlinuz-*"):
        return Kernel(image.name.removeprefix("vmlinuz-"), image, cache / "lib/modules")
    return None


def _run(*words: str, where: Path) -> str:
    done = subprocess.run(words, check=False, cwd=where, capture_output=True, text=True, timeout=FETCH_S)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
