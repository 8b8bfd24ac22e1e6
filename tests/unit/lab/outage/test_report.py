from __future__ import annotations

import json
from dataclasses import replace

from lbnode.lab.churn.flow import Ended, Outcome
from lbnode.lab.churn.judgement import Broken
from lbnode.lab.churn.life import FlowKind
from lbnode.lab.outage.report import ActReport, OutageReport, Scope, Usage
from lbnode.lab.report import Verdict

RESET = Broken(Ended(7, FlowKind.IDLE, 20000, "b2", 1.0, 5.0, 0.0, 0.0, 1, "", Outcome.RESET), 3, "reset")
HELD = OutageReport(
    scope=Scope.ONE,
    cut_s=30.0,
    window_s=7.5,
    flows=100,
    lasted=12,
    exchanges=900,
    longest_wait_s=0.5,
    broken=(),
    outlived=(RESET,),
    unlisted=(),
    victims=9,
    refused=1,
    acts=(ActReport("cut", 0.0, 4.0), ActReport("return", 30.0, 1.5)),
    agreed_after_s=1.5,
    untrue={},
    looks=40,
    cut_off_share=0.5,
    local_tables=1,
    usage={"n1": (Usage(130.0, 34), Usage(131.0, 34))},
)


def test_a_drill_in_which_all_went_well_held() -> None:
    told = json.loads(HELD.as_json())

    assert (told["verdict"], told["unproved"]) == ("held", [])
    assert told["outlived_flows"][0]["why"] == "reset"
    assert told["usage"]["n1"][1] == {"memory_mib": 131.0, "files": 34}


def test_a_broken_flow_an_untrue_word_and_an_act_without_effect_are_each_a_failure() -> None:
    act = ActReport("return", 30.0, 60.0, "n2 goes by its local view")

    assert replace(HELD, broken=(RESET,)).verdict is Verdict.BROKEN
    assert replace(HELD, untrue={"n1 says that node n2 is connected": 3}).verdict is Verdict.BROKEN
    assert replace(HELD, acts=(act,)).verdict is Verdict.BROKEN


def test_a_drill_that_put_nothing_to_the_test_says_what_is_missing() -> None:
    idle = replace(HELD, lasted=0, victims=0, local_tables=0, cut_off_share=0.05)

    assert idle.verdict is Verdict.NOTHING
    assert len(idle.unproved) == 4
    assert idle.unproved[-1] == "5.0% of the packets went by those cut off, of 10%"
