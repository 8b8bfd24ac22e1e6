from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lbnode.metrics.exporter import Exporter, MetricsError
from lbnode.metrics.sample import PoolSample, Sample
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.outcomes import NODE_OUTCOMES
from lbnode.model.traffic import Count, Traffic

WEB = PoolName("web")


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter()
    yield exporter
    exporter.stop()


def scraped(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus would read: name and label values → value."""
    with urlopen(f"http://{address}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def test_a_table_that_differs_from_the_fleets_is_seen_at_the_next_scrape(exporter: Exporter) -> None:
    address = exporter.start("127.0.0.1:0")
    exporter.sample = Sample(pools={WEB: PoolSample(7, agrees=True)})
    assert scraped(address)["evenkeel_pool_table_agrees", ("web",)] == 1
    exporter.sample = Sample(pools={WEB: PoolSample(7, agrees=False)}, alarms=1)
    now = scraped(address)
    assert now["evenkeel_pool_table_agrees", ("web",)] == 0
    assert now["evenkeel_pool_epoch", ("web",)] == 7
    assert now["evenkeel_alarms", ()] == 1


def test_counters_verdicts_and_sessions_have_their_names_as_labels(exporter: Exporter) -> None:
    address = exporter.start("127.0.0.1:0")
    exporter.sample = Sample(
        routers={"10.0.0.1": True},
        verdicts={WEB: {BackendName("b1"): False}},
        traffic=Traffic(
            NodeName("n1"),
            outcomes={"forwarded": Count(12, 999)},
            vips={"192.0.2.10:80/tcp": Count(7, 700)},
            pools={WEB: Count(8, 800)},
            backends={BackendName("b1"): Count(9, 900)},
        ),
    )
    now = scraped(address)
    assert now["evenkeel_router_up", ("10.0.0.1",)] == 1
    assert now["evenkeel_backend_up", ("b1", "web")] == 0
    assert now["evenkeel_packets_total", ("forwarded",)] == 12
    assert now["evenkeel_bytes_total", ("forwarded",)] == 999
    assert now["evenkeel_vip_packets_total", ("192.0.2.10:80/tcp",)] == 7
    assert now["evenkeel_pool_bytes_total", ("web",)] == 800
    assert now["evenkeel_backend_packets_total", ("b1",)] == 9


def test_every_outcome_that_is_counted_is_explained(exporter: Exporter) -> None:
    address = exporter.start("127.0.0.1:0")
    exporter.sample = Sample(
        traffic=Traffic(NodeName("n1"), dict.fromkeys(NODE_OUTCOMES, Count(0, 0)), {}, {}, {})
    )
    explained = {labels for name, labels in scraped(address) if name == "evenkeel_outcome_info"}
    assert {frozenset(labels) for labels in explained} == set(map(frozenset, NODE_OUTCOMES.items()))


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "203.0.113.9:1"])
def test_an_address_that_cannot_be_had_is_named(exporter: Exporter, address: str) -> None:
    with pytest.raises(MetricsError, match=rf"metrics\.listen: {address}: .*host:port"):
        exporter.start(address)


def test_a_port_in_use_is_named(exporter: Exporter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MetricsError, match="in use"):
            exporter.start(address)
