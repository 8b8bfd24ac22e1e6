"""The newest sample over HTTP, in Prometheus' text format, from a thread that never touches the daemon's loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lbnode.metrics.sample import Sample
from lbnode.model.outcomes import NODE_OUTCOMES
from lbnode.model.traffic import Count, Traffic


class MetricsError(Exception):
    """Metrics cannot be served; the message names the address and the remedy."""


class Exporter:
    """Serves `sample`, whatever it is when somebody asks."""

    def __init__(self) -> None:
        self.sample = Sample()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._server: tuple[WSGIServer, Thread] | None = None

    def start(self, address: str) -> str:
        """Serve on `address` ("127.0.0.1:9464"; port 0 takes a free one) and return where. Raises MetricsError."""
        host, _, port = address.rpartition(":")
        try:
            self._server = start_http_server(int(port), host, self._registry)
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MetricsError(
                f"metrics.listen: {address}: {reason}; write host:port of this machine that nobody else listens on"
            ) from error
        return f"{host}:{self._server[0].server_port}"

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None

    def collect(self) -> Iterator[Metric]:
        """Yield the sample's metrics: what prometheus_client asks of a collector."""
        sample = self.sample
        yield _gauge(
            "evenkeel_info", "Always 1; the version is a label.", {(sample.version,): 1}, ["version"]
        )
        yield _gauge(
            "evenkeel_local_view", "1 while the fleet is out of reach.", {(): int(sample.local_view)}
        )
        yield _gauge("evenkeel_leader", "1 on the node that leads the fleet.", {(): int(sample.leading)})
        yield _gauge(
            "evenkeel_alarms", "Alarms of this node; lbctl status has the words.", {(): sample.alarms}
        )
        yield _gauge("evenkeel_announced_addresses", "Addresses that routers know.", {(): sample.announced})
        routers = {(router,): int(up) for router, up in sample.routers.items()}
        yield _gauge("evenkeel_router_up", "1 while the BGP session is up.", routers, ["router"])
        epochs = {(pool,): held.epoch for pool, held in sample.pools.items()}
        yield _gauge(
            "evenkeel_pool_epoch", "The epoch whose table carries traffic; 0: none.", epochs, ["pool"]
        )
        agrees = {(pool,): int(held.agrees) for pool, held in sample.pools.items()}
        about = "1 while this node's table is the one that the fleet's digest asks for."
        yield _gauge("evenkeel_pool_table_agrees", about, agrees, ["pool"])
        up = {
            (pool, name): int(is_up) for pool, each in sample.verdicts.items() for name, is_up in each.items()
        }
        yield _gauge("evenkeel_backend_up", "This node's own health verdict.", up, ["pool", "backend"])
        meanings = {(outcome, NODE_OUTCOMES[outcome]): 1 for outcome in sample.traffic.outcomes}
        about = "Always 1; what an outcome of packets means is a label."
        yield _gauge("evenkeel_outcome_info", about, meanings, ["outcome", "meaning"])
        yield from _counters(sample.traffic)


def _counters(traffic: Traffic) -> Iterator[Metric]:
    """Packets and bytes: of everything by outcome, of what was forwarded by VIP, pool and backend."""
    yield from _packets_and_bytes("evenkeel", "by what became of them", "outcome", traffic.outcomes)
    yield from _packets_and_bytes("evenkeel_vip", "forwarded by VIP", "vip", traffic.vips)
    yield from _packets_and_bytes(
        "evenkeel_pool", "forwarded by pool: the sum of its VIPs", "pool", traffic.pools
    )
    yield from _packets_and_bytes("evenkeel_backend", "forwarded by backend", "backend", traffic.backends)


def _packets_and_bytes(name: str, about: str, label: str, counts: Mapping[Any, Count]) -> Iterator[Metric]:
    packets = CounterMetricFamily(f"{name}_packets", f"Packets {about}.", labels=[label])
    size = CounterMetricFamily(f"{name}_bytes", f"Bytes of packets {about}.", labels=[label])
    for key, count in counts.items():
        packets.add_metric([key], count.packets)
        size.add_metric([key], count.bytes)
    yield packets
    yield size


def _gauge(name: str, about: str, values: Mapping[Any, int], labels: list[str] | None = None) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels or [])
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
