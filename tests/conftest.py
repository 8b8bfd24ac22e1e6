"""Rules for the whole suite: in CI a check that cannot run is not a pass, and no test fails for being slow."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

LONGEST = ("tests/interop/", "tests/fuzz/", "tests/integration/installed/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: where tests run side by side nobody has to wait for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn skipped tests into a failure when CI=true: a missing tool or right must not look like success."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = len(reporter.stats.get("skipped", []))
    if os.environ.get("CI") == "true" and skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI: {skipped} skipped test(s) count as failed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
