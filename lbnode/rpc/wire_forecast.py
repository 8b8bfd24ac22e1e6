"""`lbnode.model.forecast` as messages of the Control service, and back."""

from __future__ import annotations

from lbnode.api.v1 import control_pb2 as pb
from lbnode.model.forecast import Broken, Forecast, HeldBack, PoolForecast, Share
from lbnode.model.ids import BackendName, PoolName
from lbnode.rpc.wire_control import pack_difference, unpack_difference
from lbnode.rpc.wire_flows import pack_waits, unpack_waits


def pack_forecast(forecast: Forecast) -> pb.PlanResponse:
    """Return the message that says `forecast`."""
    return pb.PlanResponse(
        version=forecast.version,
        differences=[pack_difference(one) for one in forecast.differences],
        warnings=forecast.warnings,
        pools=[_pack_pool(pool) for pool in forecast.pools],
    )


def unpack_forecast(message: pb.PlanResponse) -> Forecast:
    """Return the forecast that `message` says; WireError for a message that says none."""
    return Forecast(
        version=message.version,
        differences=tuple(unpack_difference(one) for one in message.differences),
        warnings=tuple(message.warnings),
        pools=tuple(_unpack_pool(pool) for pool in message.pools),
    )


def _pack_pool(pool: PoolForecast) -> pb.PoolForecast:
    return pb.PoolForecast(
        pool=pool.pool,
        table_size=pool.table_size,
        moved=pool.moved,
        shares=[
            pb.Share(
                backend=one.backend, before=one.before, after=one.after, gained=one.gained, lost=one.lost
            )
            for one in pool.shares
        ],
        second_chances=pool.second_chances,
        held=[pb.HeldBack(what=one.what, waits_for=pack_waits(one.waits_for)) for one in pool.held],
        broken=[_pack_broken(one) for one in pool.broken],
        broken_by_force=[_pack_broken(one) for one in pool.broken_by_force],
    )


def _unpack_pool(message: pb.PoolForecast) -> PoolForecast:
    return PoolForecast(
        pool=PoolName(message.pool),
        table_size=message.table_size,
        moved=message.moved,
        shares=tuple(
            Share(BackendName(one.backend), one.before, one.after, one.gained, one.lost)
            for one in message.shares
        ),
        second_chances=message.second_chances if message.HasField("second_chances") else None,
        held=tuple(HeldBack(one.what, unpack_waits(one.waits_for)) for one in message.held),
        broken=tuple(_unpack_broken(one) for one in message.broken),
        broken_by_force=tuple(_unpack_broken(one) for one in message.broken_by_force),
    )


def _pack_broken(broken: Broken) -> pb.BrokenFlows:
    return pb.BrokenFlows(backend=broken.backend, flows=broken.flows, why=broken.why)


def _unpack_broken(message: pb.BrokenFlows) -> Broken:
    flows = message.flows if message.HasField("flows") else None
    return Broken(BackendName(message.backend), flows, message.why)
