"""Values of a small fleet."""

from __future__ import annotations

from ipaddress import IPv4Address
from uuid import UUID

from lbnode.model.epoch import ALGORITHM, BackendState, Epoch, EpochSlot
from lbnode.model.fleet import Backend, DesiredFleet, HashAlgorithm, HashMode, Pool, PoolMember, Protocol, Vip
from lbnode.model.ids import BackendId, BackendName, EpochNumber, NodeName, PoolName, SlotNumber
from lbnode.model.members import AgentLive, AgentMember, BackendMember, FleetIdentity, NodeLive, NodeMember

UUID_A = UUID(int=0xA)
UUID_B = UUID(int=0xB)
IDENTITY = FleetIdentity(UUID_A, "demo", {1: "00" * 32})
WEB = PoolName("web")
ADDRESS = IPv4Address("192.0.2.1")
DESIRED = DesiredFleet(
    "demo",
    (Backend(BackendName("b1"), (ADDRESS,)),),
    (Pool(WEB, (PoolMember(BackendName("b1")),)),),
    (Vip(IPv4Address("198.51.100.1"), Protocol.TCP, 80, WEB),),
)
NODE = NodeMember(NodeName("n1"), (ADDRESS,), ALGORITHM)
BACKEND = BackendMember(BackendName("b1"), BackendId(1), (ADDRESS,), True)
AGENT = AgentMember(BackendName("b1"), (ADDRESS,), ALGORITHM)
LIVE_NODE = NodeLive(
    NodeName("n1"), "0.1.0", "serving", 1.5, "192.0.2.1:9001", verdicts={WEB: {BackendName("b1"): True}}
)
LIVE_AGENT = AgentLive(BackendName("b1"), "0.1.0", {WEB: EpochNumber(1)})


def epoch(number: int, fleet: UUID = UUID_A) -> Epoch:
    """An epoch of the pool `web` with one active backend."""
    slot = EpochSlot(SlotNumber(0), 1, BackendId(1), BackendState.ACTIVE)
    return Epoch(
        fleet=fleet,
        pool=WEB,
        number=EpochNumber(number),
        algorithm=ALGORITHM,
        table_size=65537,
        seed=7,
        hash_mode=HashMode.FLOW,
        hash_algorithm=HashAlgorithm.MULTIPLY,
        key_id=1,
        slots=(slot,),
        former=(),
        window_from=EpochNumber(number),
        digest="d" * 64,
    )
