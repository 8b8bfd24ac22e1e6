"""A QUIC server that answers with its name, and whose connection ids name its backend.

`python -m tests.integration.quic_server ADDRESS PORT NAME CERTIFICATE KEY CONFIG_ID ID_FILE`
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, serve, server
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived

from lbnode.quic import ConnectionIds, read_server_id

PROTOCOL = "evenkeel-test"


class Routable(QuicConnection):
    """Mints its connection ids: aioquic has no setting for that."""

    ids: ConnectionIds

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._host_cids[0].cid = self.host_cid = self._local_initial_source_connection_id = self.ids.mint()

    def _replenish_connection_ids(self) -> None:
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        for connection_id in self._host_cids[known:]:
            connection_id.cid = self.ids.mint()


class Names(QuicConnectionProtocol):
    """Answers every stream with the server's name."""

    name = b""

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived) and event.end_stream:
            self._quic.send_stream_data(event.stream_id, self.name, end_stream=True)


async def main(
    address: str, port: str, name: str, certificate: str, key: str, config: str, file: str
) -> None:
    Routable.ids = ConnectionIds(read_server_id(file), int(config))
    Names.name = name.encode()
    server.QuicConnection = Routable  # type: ignore[misc]
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=[PROTOCOL], connection_id_length=Routable.ids.length
    )
    configuration.load_cert_chain(certificate, key)
    await serve(address, int(port), configuration=configuration, create_protocol=Names)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
