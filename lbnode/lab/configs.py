"""The files that the lab's daemons read, and the fleet that is applied. Pure: values in, plain data out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lbnode.lab.plan import (
    DRILL_PORT,
    HOLD_TIME_S,
    HTTP_PORT,
    MTU,
    NODE_AS,
    POOL,
    POOL6,
    ROUTER_AS,
    SEGMENTS,
    UDP_PORT,
    VIP,
    VIPS,
    Host,
    Plan,
    Role,
    Store,
)

ZOOKEEPER_PORT = 2181


def run_dir(directory: Path) -> Path:
    """The run directory of the daemon whose files lie in `directory`."""
    return directory / "run"


def rpc_address(directory: Path) -> str:
    """Where the node whose files lie in `directory` answers gRPC: what `lbctl --node` takes."""
    return f"unix:{run_dir(directory) / 'rpc.sock'}"


def store_config(plan: Plan, store_directory: Path) -> dict[str, Any]:
    """Where a daemon finds the fleet's memory. `store_directory`: of the lab, for the file store."""
    if plan.store is Store.FILE:
        return {"kind": "file", "path": str(store_directory)}
    return {
        "kind": "zookeeper",
        "hosts": [f"{host.address}:{ZOOKEEPER_PORT}" for host in plan.of(Role.STORE)],
    }


def node_config(plan: Plan, node: Host, directory: Path, store_directory: Path) -> dict[str, Any]:
    """What `lbnode run` reads on `node`; everything of the daemon lies beneath `directory`."""
    return {
        **_daemon_config(plan, node, directory, store_directory),
        "bgp": {
            "local_as": NODE_AS,
            "router_id": str(node.address),
            "local_address": plan.tunnel_ends(node),
            "neighbors": [
                {
                    "address": str(SEGMENTS[Role.NODE].gateway),
                    "peer_as": ROUTER_AS,
                    "hold_time_s": HOLD_TIME_S,
                }
            ],
        },
        "rpc": {"listen": rpc_address(directory)},
        "count_buckets": True,
    }


def backend_config(plan: Plan, backend: Host, directory: Path, store_directory: Path) -> dict[str, Any]:
    """What `lbbackend run` reads on `backend`."""
    return {
        **_daemon_config(plan, backend, directory, store_directory),
        "path_mtu": MTU,
        **plan.agent_settings,
    }


def fleet_config(plan: Plan) -> dict[str, Any]:
    """What is applied once the nodes run: one pool of all backends, behind VIPs for HTTP, the drill and UDP.

    In dual stack there is a second pool of them with IPv6 tunnels, and each has a VIP of either family.
    """
    backends = plan.of(Role.BACKEND)
    vips = VIPS if plan.dual_stack else {POOL: (VIP,)}
    return {
        "fleet": plan.lab,
        "backends": [
            {
                "name": host.name,
                "address": plan.tunnel_ends(host),
                **({} if plan.has_agent(host) else {"agent": False}),
            }
            for host in backends
        ],
        "pools": [
            {
                "name": pool,
                "backends": [host.name for host in backends],
                "health": {"port": HTTP_PORT, "interval_s": 0.5, "timeout_s": 0.5},
                **({"table": plan.table} if plan.table else {}),
                **({"tunnel": "ipv6"} if pool == POOL6 else {}),
                **plan.pool_settings,
            }
            for pool in vips
        ],
        "vips": [
            {"address": str(vip), "port": port, "protocol": protocol, "pool": pool}
            for pool, addresses in vips.items()
            for vip in addresses
            for port, protocol in ((HTTP_PORT, "tcp"), (DRILL_PORT, "tcp"), (UDP_PORT, "udp"))
        ],
    }


def _daemon_config(plan: Plan, host: Host, directory: Path, store_directory: Path) -> dict[str, Any]:
    """What nodes and backends have in common."""
    return {
        "name": host.name,
        "fleet": plan.lab,
        "interface": "eth0",
        "address": plan.tunnel_ends(host),
        "store": store_config(plan, store_directory),
        "state_dir": str(directory / "state"),
        "run_dir": str(run_dir(directory)),
        "xdp_mode": "auto",
    }
