"""What the keys of fleet.yaml mean, in a sentence each: for editors, and for docs/settings.md."""

from __future__ import annotations

SHORT = {
    "fleet": "The fleet's name. A file for another fleet is refused.",
    "backends": "Every real server.",
    "pools": "Named sets of backends; each has one table, which says who gets a new flow.",
    "vips": "What clients connect to.",
}

ABOUT = {
    "BackendEntry": {
        "name": "Its name, which its agent's settings have too.",
        "address": "Where it takes GRE from the nodes: an address, or a list with one of each family.",
        "agent": "false: a stock kernel gre device decapsulates there, with weaker guarantees (docs/affinity.md).",
    },
    "MemberEntry": {
        "name": "A backend of this fleet.",
        "weight": "Its share of new flows, beside the weights of the others.",
        "slot": "Its place; who takes over a place takes over its flows. Left out: the lowest free one.",
    },
    "HealthEntry": {
        "port": "Where its nodes connect, at the backend's own address.",
        "interval_s": "Seconds between two probes.",
        "timeout_s": "Seconds after which a probe has failed.",
        "rise": "Probes in a row that must succeed until it counts as well.",
        "fall": "Probes in a row that must fail until it counts as failed.",
    },
    "PoolEntry": {
        "name": "Its name; VIPs point at it.",
        "backends": "Who is in it: names, or mappings with weight and slot.",
        "join": "auto: besides those listed, every backend whose settings ask for it.",
        "tunnel": "The family of the outer header of its packets; every backend in it needs an address of that family.",
        "table_size": "Buckets: a prime, about 100 for each backend or more. Fixed for the pool's life.",
        "hash": "What of a packet counts: the whole flow, or the client's address alone. Fixed for the pool's life.",
        "hash_algorithm": "multiply, or the slower and stronger siphash. Fixed for the pool's life.",
        "health": "A TCP connect. Left out: to the port of the pool's first TCP VIP. To have none: off.",
        "health_cap_percent": "Health never takes out more of the pool than this.",
        "on_all_failed": "When all fail: withdraw its VIPs, or keep announcing them.",
        "affinity_window_s": "Seconds that earlier owners of a bucket are asked for its flows: as long as yours live.",
        "flow_table": "Nodes remember flows of buckets that change: for UDP, and backends without the agent.",
        "udp_idle_s": "With a flow table: seconds that a planned change waits while flows are written down.",
        "table": "How the table is built; maglev is for comparison.",
        "quic": "QUIC packets go to the backend that their connection id names (docs/quic.md).",
    },
    "QuicEntry": {
        "config_id": "The number of the ids' configuration, in the upper three bits of their first octet.",
    },
    "VipEntry": {
        "address": "What clients connect to: an address, or a prefix like 203.0.113.0/28.",
        "port": "A port, a range like 8000-8099, or any.",
        "protocol": "tcp or udp.",
        "pool": "Who serves it.",
        "wrong_port": "What becomes of packets to this address on ports without a VIP.",
    },
}
