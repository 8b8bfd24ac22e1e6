"""A QEMU guest on Debian's stock kernel, with this machine's files: software emulation, so that it runs anywhere."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from tests.interop.kernel import Kernel

HERE = Path(__file__).parent
CLONE = HERE.parents[1]
MODULES = ("crc32c_generic", "virtio_pci", "9pnet_virtio", "9p", "overlay")
"""What it takes to see this machine's files; the rest is loaded from there."""
MEMORY_MIB = 3072
BOOT_AND_TESTS_S = 600
CONSOLE_TAIL = 6000


def run_tests(kernel: Kernel, scratch: Path) -> ElementTree.Element:
    """Boot, run all of `inside/`, and return its JUnit report; a guest that ends without one fails with its console."""
    results = scratch / "results"
    results.mkdir()
    console = _boot(kernel, _first_stage(kernel, scratch), results)
    report = results / "report.xml"
    assert report.exists(), f"the guest ended without a report:\n{console[-CONSOLE_TAIL:]}"
    return ElementTree.parse(report).getroot()


def _first_stage(kernel: Kernel, scratch: Path) -> Path:
    """Make the initial file system: busybox, a handful of modules, `init.sh`."""
    root = scratch / "initramfs"
    for directory in ("bin", "proc", "modules", "host", "changes", "root"):
        (root / directory).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    modules = kernel.closure(MODULES)
    for module in modules:
        shutil.copy(module, root / "modules")
    second = f"{HERE}/inside/run.sh {CLONE} {sys.executable}"
    text = (HERE / "init.sh").read_text()
    text = text.replace("{modules}", " ".join(module.name for module in modules))
    text = text.replace("{unpacked}", str(kernel.modules.parents[1])).replace("{script}", second)
    (root / "init").write_text(text)
    (root / "init").chmod(0o755)
    return _packed(root, scratch / "initramfs.gz")


def _packed(root: Path, archive: Path) -> Path:
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    words = ["cpio", "--create", "--format=newc", "--quiet"]
    done = subprocess.run(words, cwd=root, input=names.encode(), capture_output=True, check=True)
    archive.write_bytes(gzip.compress(done.stdout, compresslevel=1))
    return archive


def _boot(kernel: Kernel, initramfs: Path, results: Path) -> str:
    """Run the guest until it powers off; return what its console said."""
    console = results.parent / "console"
    words = [
        "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi",
        "-smp", str(min(2, os.cpu_count() or 1)), "-m", str(MEMORY_MIB), "-no-reboot",
        "-nodefaults", "-display", "none", "-serial", f"file:{console}",
        "-kernel", str(kernel.image), "-initrd", str(initramfs), "-append", "console=ttyS0 quiet panic=-1",
        *_share("host", "/", "readonly=on,multidevs=remap"), *_share("results", str(results), "readonly=off"),
    ]  # fmt: skip
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, timeout=BOOT_AND_TESTS_S)
    return console.read_text(errors="replace")


def _share(tag: str, path: str, how: str) -> list[str]:
    backend = f"local,id={tag},path={path},security_model=none,{how}"
    return ["-fsdev", backend, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
