"""The guest's tests run in the guest alone; here its report is read."""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element

import pytest

from tests.interop import guest, kernel

collect_ignore = [] if os.environ.get("EVENKEEL_GUEST") else ["inside"]
CACHE = guest.CLONE / ".venv/stock-kernel"


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Element:
    """What the guest's tests said, by JUnit's form."""
    return guest.run_tests(kernel.fetch(CACHE), tmp_path_factory.mktemp("guest"))
