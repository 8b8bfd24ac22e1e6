"""The door to the kernel's BPF side: what it does, and what it says when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import build_bpf
from lbnode.dataplane import libbpf_abi
from lbnode.dataplane.errors import LibraryError, LoadError, MapError, PinError
from lbnode.dataplane.libbpf import BpfObject, Map, possible_cpus
from lbnode.dataplane.node import OBJECT
from tests.bpf.node_world import mounted

HERE = Path(__file__).resolve().parent
NOBODY = 65534
PROBE = HERE / "build" / "probe.bpf.o"
FUTURE = HERE / "build" / "future.bpf.o"
FRAME = bytes(64)

UNPRIVILEGED = """
import sys
from pathlib import Path
from lbnode.dataplane.errors import RightsError
from lbnode.dataplane.libbpf import BpfObject
try:
    BpfObject.open(Path(sys.argv[1])).load()
except RightsError as error:
    print(error)
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_bpf(HERE)


@pytest.fixture
def probe() -> Iterator[BpfObject]:
    with BpfObject.open(PROBE) as opened:
        yield opened


def test_constants_set_before_loading_are_what_the_program_sees(probe: BpfObject) -> None:
    probe.set_constant("narrow", 0x12)
    probe.set_constant("wide", 0x3400)
    probe.load()
    assert probe.program("sum").test_run(FRAME).retval == 0x3412


def test_a_constant_that_does_not_exist_or_fit_is_named(probe: BpfObject) -> None:
    with pytest.raises(LoadError, match="no constant depth"):
        probe.set_constant("depth", 1)
    with pytest.raises(LoadError, match="narrow has 4 bytes, not 2"):
        probe.set_constant("narrow", b"\0\0")


def test_a_map_is_read_and_written_one_by_one_and_as_memory(probe: BpfObject) -> None:
    probe.resize("numbers", 300)
    probe.load()
    numbers = probe.map("numbers")
    assert numbers.max_entries == 300
    numbers.update(7, (77).to_bytes(8, "little"))
    assert numbers.lookup(7) == (77).to_bytes(8, "little")
    memory = numbers.mmap()
    assert memory[8 * 7] == 77
    memory[8 * 2] = 23
    assert numbers.lookup(2) == (23).to_bytes(8, "little")
    assert numbers.lookup(300) is None
    with pytest.raises(MapError, match="it holds 300 entries"):
        numbers.update(300, bytes(8))
    with pytest.raises(MapError, match="3 bytes, not 8"):
        numbers.update(1, bytes(3))


def test_a_hash_map_lists_and_loses_its_keys(probe: BpfObject) -> None:
    probe.load()
    names = probe.map("names")
    for key in (b"aaaa", b"bbbb"):
        names.update(key, bytes(4))
    assert sorted(names.keys()) == [b"aaaa", b"bbbb"]
    assert names.delete(b"aaaa")
    assert not names.delete(b"aaaa")
    assert names.keys() == [b"bbbb"]


def test_a_value_of_a_per_cpu_map_spans_all_cpus(probe: BpfObject) -> None:
    probe.load()
    each = probe.map("each_cpu")
    assert each.span == 8 * possible_cpus()
    assert each.lookup(0) == bytes(each.span)


def test_a_pinned_map_is_the_same_map(probe: BpfObject) -> None:
    probe.load()
    with mounted() as directory:
        probe.map("numbers").pin(directory / "numbers")
        probe.map("numbers").update(3, (33).to_bytes(8, "little"))
        assert Map.open_pinned(directory / "numbers").lookup(3) == (33).to_bytes(8, "little")
        with pytest.raises(PinError, match="File exists"):
            probe.map("numbers").pin(directory / "numbers")
        with pytest.raises(PinError, match=r"open pin .*nothing: No such file"):
            Map.open_pinned(directory / "nothing")


def test_a_program_that_the_verifier_refuses_comes_with_the_verifiers_words(probe: BpfObject) -> None:
    with BpfObject.open(FUTURE) as future:
        future.leave_out("fine")
        future.without_map("unknown")
        with pytest.raises(LoadError, match=r"load future\.bpf\.o") as refusal:
            future.load()
    assert "invalid access to packet" in "".join(refusal.value.__notes__)


def test_what_the_kernel_does_not_know_names_the_kernel_that_is_needed() -> None:
    """A map type of the future stands for a kernel of the past."""
    with BpfObject.open(FUTURE) as future:
        future.leave_out("refused")
        with pytest.raises(LoadError, match=r"needs Linux 5\.15 or newer"):
            future.load()


def test_a_process_without_rights_is_told_which() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(OBJECT)],
        user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, timeout=60, check=True,
        env=environment, cwd=HERE.parent.parent,
    )  # fmt: skip
    assert "Operation not permitted" in run.stdout
    assert "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON" in run.stdout


def test_a_missing_object_is_named_with_the_way_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"open .*nothing\.bpf\.o: No such file.*hatch_build"):
        BpfObject.open(tmp_path / "nothing.bpf.o")


def test_a_missing_map_or_program_is_named(probe: BpfObject) -> None:
    with pytest.raises(LoadError, match="no map lists"):
        probe.map("lists")
    with pytest.raises(LoadError, match="no program run"):
        probe.program("run")
    with pytest.raises(LoadError, match="numbers: not loaded"):
        probe.map("numbers")


def test_a_missing_library_is_named_with_the_package() -> None:
    with pytest.raises(LibraryError, match=r"load libbpf\.so\.99: .*apt install libbpf1"):
        libbpf_abi.library("libbpf.so.99")


def test_a_library_without_our_functions_is_too_old() -> None:
    with pytest.raises(LibraryError, match=r"it has no bpf_object__open_file: install libbpf 1\.1"):
        libbpf_abi.library("libc.so.6")
