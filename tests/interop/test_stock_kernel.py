"""A stock Debian 12 machine can be a node and a backend, and its kernel's GRE takes our packets."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from tests.interop.guest import BOOT_AND_TESTS_S
from tests.interop.kernel import FETCH_S

pytestmark = pytest.mark.timeout(BOOT_AND_TESTS_S + FETCH_S)

INSIDE = ("test_kernel", "test_programs", "test_kernel_gre")


@pytest.mark.parametrize("module", INSIDE)
def test_in_the_guest_every_test_of_the_module_has_passed(report: Element, module: str) -> None:
    cases = [
        case for case in report.iter("testcase") if case.attrib["classname"].endswith(f"inside.{module}")
    ]
    assert cases, f"the guest ran nothing of {module}"
    failed = {case.attrib["name"]: _why(case) for case in cases if len(case)}
    assert not failed, "\n\n".join(f"{name}: {why}" for name, why in failed.items())


def test_the_guest_ran_no_module_that_is_not_listed_here(report: Element) -> None:
    modules = {case.attrib["classname"].rpartition(".")[2] for case in report.iter("testcase")}
    assert modules == set(INSIDE)


def _why(case: Element) -> str:
    return "\n".join(f"{each.attrib.get('message', '')}\n{each.text or ''}" for each in case)
