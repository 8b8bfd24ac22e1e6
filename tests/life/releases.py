"""Other releases of the node, to upgrade to: copies of the installed packages with another object."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import hatch_build

_PACKAGES = ("lbnode", "ring", "bgp")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "lab", "doctor")
LAYOUT = {"POOL_PLACES = 1024": "POOL_PLACES = 2048", "__u64 table_places;": "__u64 another;\n\t__u64 table_places;",
          "__u64 unused[3];": "__u64 unused[2];"}  # fmt: skip
"""Changes of lbnode/bpf/layout.h: two maps are larger, and fields lie elsewhere."""


def other_release(folder: Path, edits: Mapping[str, str] | None = None) -> Path:
    """Return where a release lies whose program has other instructions and, with `edits`, another layout."""
    for package in _PACKAGES:
        shutil.copytree(hatch_build.ROOT / package, folder / package, ignore=_LEFT_OUT)
    layout = folder / "lbnode" / "bpf" / "layout.h"
    text = layout.read_text()
    for before, after in (edits or {}).items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    layout.write_text(text)
    compile_node(layout.parent, layout.parent / "build" / "node.bpf.o")
    return folder


def compile_node(sources: Path, target: Path) -> Path:
    """Compile the node's program in `sources` for an older instruction set: other instructions for the same."""
    flags = [flag.replace("-mcpu=v3", "-mcpu=v2") for flag in hatch_build.BPF_FLAGS]
    include = [*hatch_build.multiarch_include(), f"-I{sources}"]
    hatch_build.run("clang-16", *flags, *include, "-c", sources / "node.bpf.c", "-o", target)
    return target
