from __future__ import annotations

import numpy as np
import pytest

from lbnode.lab.carriers import Sample, carriers, changed, choose_ports
from lbnode.lab.errors import LabError


def sample(**counts: list[int]) -> Sample:
    return Sample({node: np.array(count, dtype=np.uint64) for node, count in counts.items()})


def test_the_carrier_is_the_node_whose_counter_grew() -> None:
    earlier = sample(n1=[100, 100, 100], n2=[0, 50, 0])
    later = sample(n1=[104, 100, 100], n2=[0, 55, 0])

    assert carriers(earlier, later) == ["n1", "n2", None]


def test_flows_that_stay_have_not_changed_node() -> None:
    earlier = sample(n1=[10, 0], n2=[0, 10])
    later = sample(n1=[90, 0], n2=[0, 70])

    assert changed(["n1", "n2"], earlier, later) == 0


def test_a_flow_that_moves_to_a_new_node_has_changed() -> None:
    earlier = sample(n1=[10, 10])
    later = sample(n1=[12, 90], n2=[80, 0])

    assert changed(["n1", "n1"], earlier, later) == 1


def test_a_flow_that_went_and_came_back_has_changed() -> None:
    earlier = sample(n1=[10], n2=[0])
    later = sample(n1=[90], n2=[1])

    assert changed(["n1"], earlier, later) == 1


def test_a_flow_whose_carrier_is_unknown_is_not_counted() -> None:
    assert changed([None], sample(n1=[0]), sample(n1=[5])) == 0


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    assert changed(["n1"], sample(n1=[10], n2=[500]), sample(n1=[20], n2=[3])) == 1
    assert changed(["n1"], sample(n1=[10], n2=[500]), sample(n1=[20], n2=[0])) == 0


def test_chosen_ports_have_buckets_of_their_own() -> None:
    ports, buckets = choose_ports(range(1000, 1100), lambda port: port // 3, 10)

    assert len(set(buckets)) == 10
    assert buckets == [port // 3 for port in ports]


def test_too_few_buckets_are_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(LabError, match="20 flows: only 4 have buckets of their own"):
        choose_ports(range(100), lambda port: port % 4, 20)
