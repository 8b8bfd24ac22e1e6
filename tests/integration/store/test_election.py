"""The contract of `lbnode.store.tree` for elections, over both stores."""

from __future__ import annotations

from tests.integration.store.backing import Backing, Observer
from tests.integration.store.conftest import Open, Start

NOTICE_S = 1.0


async def leader_known(to: Observer) -> None:
    await to.until(lambda: to.tree.leader is not None)


async def test_one_candidate_leads_and_all_know_its_name(backing: Backing, open_tree: Open) -> None:
    observers = [await open_tree(backing) for _ in range(3)]
    campaigns = [each.campaign(f"n{number}") for number, each in enumerate(observers)]
    for each in observers:
        await leader_known(each)
    (name,) = {each.tree.leader for each in observers}
    assert name is not None
    leading = int(name.removeprefix("n"))
    await observers[leading].until(lambda: "elected" in observers[leading].history)
    assert [campaign.leading for campaign in campaigns] == [number == leading for number in range(3)]
    assert [each.history.count("elected") for each in observers].count(1) == 1


async def test_nobody_leads_where_nobody_stands(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    assert mine.tree.leader is None


async def test_the_leader_s_death_passes_leadership_on(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    other = await start_process(backing, "campaign=theirs")
    await mine.until(lambda: mine.tree.leader == "theirs")
    campaign = mine.campaign("mine")
    assert not campaign.leading
    await other.kill()
    await mine.until(lambda: campaign.leading, backing.grace_s + NOTICE_S)
    await mine.until(lambda: mine.tree.leader == "mine")
    await mine.until(lambda: mine.history == ["connected", "elected"])


async def test_withdrawing_passes_leadership_on_at_once(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    campaign = mine.campaign("mine")
    await mine.until(lambda: campaign.leading)
    theirs.campaign("theirs")
    await campaign.withdraw()
    assert not campaign.leading
    await mine.until(lambda: mine.history[-1] == "deposed")
    await theirs.until(lambda: theirs.history[-1] == "elected", NOTICE_S)
    await mine.until(lambda: mine.tree.leader == "theirs")


async def test_a_candidate_that_withdraws_never_leads(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    first = mine.campaign("mine")
    await mine.until(lambda: first.leading)
    second = theirs.campaign("theirs")
    await second.withdraw()
    await first.withdraw()
    await theirs.until(lambda: theirs.tree.leader is None)
    assert not second.leading
    assert theirs.history == ["connected"]


async def test_closing_the_leader_passes_leadership_on_at_once(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    campaign = mine.campaign("mine")
    await mine.until(lambda: campaign.leading)
    theirs.campaign("theirs")
    await mine.tree.close()
    await theirs.until(lambda: theirs.history[-1] == "elected", NOTICE_S)
    assert not campaign.leading


async def test_a_candidate_may_stand_again_after_withdrawing(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    first = mine.campaign("mine")
    await mine.until(lambda: first.leading)
    await first.withdraw()
    second = mine.campaign("mine")
    await mine.until(lambda: second.leading)
    await mine.until(lambda: mine.history == ["connected", "elected", "deposed", "elected"])
