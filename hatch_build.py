"""Build what is not Python: the eBPF objects, the hash library and the gRPC code.

Used twice: as hatchling's build hook (a wheel carries the built files, so that installing it needs no compiler)
and as ``python hatch_build.py``, which rebuilds in place whatever is older than its sources.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
BPF = ROOT / "lbnode" / "bpf"
API = ROOT / "lbnode" / "api" / "v1"

BPF_FLAGS = [
    "-O2", "-g", "-target", "bpfel", "-mcpu=v3", "-std=gnu11",
    "-Wall", "-Wextra", "-Werror", "-Wno-address-of-packed-member",
]  # fmt: skip
HOST_FLAGS = ["-O3", "-fPIC", "-shared", "-std=c11", "-Wall", "-Wextra", "-Werror"]


def run(*command: str | Path) -> None:
    print("+", " ".join(str(word) for word in command), flush=True)
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # protoc looks for its plugins there
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT, env={**os.environ, "PATH": path})


def stale(target: Path, sources: list[Path]) -> bool:
    """True when ``target`` is missing or older than any of its sources (this file is one of them)."""
    if not target.exists():
        return True
    built = target.stat().st_mtime
    return any(source.stat().st_mtime > built for source in [*sources, Path(__file__)])


def multiarch_include() -> list[str]:
    """Where <asm/types.h> lives on Debian; clang's bpf target does not look there by itself."""
    found = subprocess.run(
        ["cc", "-print-multiarch"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return [f"-I/usr/include/{found}"] if found else []


def build_bpf(folder: Path = BPF) -> None:
    """One object for every ``*.bpf.c`` in ``folder``; headers count as sources of all of them."""
    headers = sorted({*BPF.glob("*.h"), *folder.glob("*.h")})
    for source in sorted(folder.glob("*.bpf.c")):
        target = folder / "build" / source.name.replace(".bpf.c", ".bpf.o")
        if not stale(target, [source, *headers]):
            continue
        target.parent.mkdir(exist_ok=True)
        run("clang-16", *BPF_FLAGS, *multiarch_include(), f"-I{BPF}", "-c", source, "-o", target)
        run("llvm-strip-16", "-g", target)


def build_ring() -> None:
    """The table builder; plain C without Python's headers, loaded through ctypes."""
    for source in sorted((ROOT / "ring").glob("*.c")):
        target = source.with_name(f"lib{source.stem}.so")  # not fast.so: Python would import it
        if stale(target, [source]):
            run("cc", *HOST_FLAGS, source, "-o", target)


def build_api() -> None:
    """Python and type stubs from the protos."""
    for proto in sorted(API.glob("*.proto")):
        target = proto.with_name(proto.stem + "_pb2.py")
        if stale(target, [proto]):
            run(
                sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}",
                f"--python_out={ROOT}", f"--grpc_python_out={ROOT}",
                f"--mypy_out=quiet:{ROOT}", f"--mypy_grpc_out=quiet:{ROOT}", proto,
            )  # fmt: skip


def build_all() -> None:
    build_api()
    build_ring()
    build_bpf()


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel (or an editable install) is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's form
        build_all()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"


def platform_tag() -> str:
    """The wheel holds a shared library without Python's ABI: any CPython 3 on this platform can use it."""
    import sysconfig

    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":
    build_all()
