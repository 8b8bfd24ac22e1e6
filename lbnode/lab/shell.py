"""Running commands, on the machine and inside a lab's namespaces.

Only the network namespace is entered, by setns: files, mounts and process ids stay those of the machine. `ip
netns exec` would also make a mount namespace of its own, which hides every BPF file system mounted later.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lbnode.lab.errors import CommandError, LabError

NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
T = TypeVar("T")

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(argv: Sequence[str], *, script: str | None = None, timeout_s: float = 30.0) -> str:
    """Run `argv`, feeding it `script`, and return what it printed.

    Raises CommandError with the command's own words when it fails, is missing or takes longer than
    `timeout_s`.
    """
    try:
        ended = subprocess.run(
            argv,
            input=script,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment(),
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]}: not installed: install the package that brings it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(argv)}: no end after {timeout_s:g} s") from error
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip().replace("\n", "; ")
        raise CommandError(f"{' '.join(argv)}: {said or f'exit status {ended.returncode}'}")
    return ended.stdout


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in a namespace; it keeps its process id."""
    return ["nsenter", f"--net={NETNS / namespace}", "--", *argv]


def run_script(namespace: str, lines: Sequence[str], *, timeout_s: float = 30.0) -> None:
    """Run shell `lines` in a namespace; the first that fails ends it, as CommandError."""
    try:
        run(inside(namespace, ["sh", "-eu"]), script="\n".join(lines) + "\n", timeout_s=timeout_s)
    except CommandError as error:
        raise CommandError(f"set up {namespace}: {error}") from error


def call_inside(namespace: str, function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own that lives in a namespace; its sockets belong there."""

    def call() -> T:
        enter(namespace)
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def become(namespace: str, argv: Sequence[str]) -> None:
    """Turn the calling process into `argv` inside a namespace. Returns only by raising LabError."""
    enter(namespace)
    try:
        os.execvpe(argv[0], list(argv), environment())
    except OSError as error:
        raise LabError(f"exec {argv[0]}: {error.strerror}") from error


def enter(namespace: str) -> None:
    """Move the calling thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with (NETNS / namespace).open("rb") as handle:
            failed = libc.setns(handle.fileno(), CLONE_NEWNET)
    except OSError as error:
        raise LabError(f"enter {namespace}: {error.strerror}: is the lab up? see: lbctl lab list") from error
    if failed:
        raise LabError(f"enter {namespace}: {os.strerror(ctypes.get_errno())}: run as root")


def environment() -> dict[str, str]:
    """The caller's environment, with the system's tools on the search path even where a login forgot them."""
    path = os.environ.get("PATH", "")
    return {**os.environ, "PATH": f"{path}:{SEARCH_PATH}" if path else SEARCH_PATH}
