"""The drill of changes: every change is found in every kernel, with the stages that it went through."""

from __future__ import annotations

import json

from lbnode.lab.changes.stages import STAGES
from lbnode.lab.running import RunningLab
from tests.e2e.conftest import lbctl


def test_the_drill_times_every_change_until_every_kernel_has_it(lab: RunningLab) -> None:
    ended = lbctl("lab", "drill", "changes", "--name", lab.plan.lab, "--changes", "4", "--json")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    assert report["lost"] == []
    assert [change["what"] for change in report["each"]] == [
        "apply: b1 weighs 2",
        "apply: b1 weighs 1",
        "drain b2",
        "undrain b2",
    ]
    numbers = [change["epoch"] for change in report["each"]]
    assert numbers == sorted(set(numbers))
    for change in report["each"]:
        assert set(change["stages_ms"]) == set(STAGES)
        assert change["every_kernel_ms"] > 0
