"""What runs on the lab's backends, on every address (and so on the VIPs): `python -m lbnode.lab.server
--name b1`.

Port 80 speaks HTTP/1.1 and names itself: `GET /` answers the name, `GET /bytes/N` sends N bytes, `POST` or
`PUT` anything answers the name, the count and the SHA-256 of what came. Port 7000 speaks the nodes drill's
protocol (`echo`), port 7001 that of the churn drill (`churn.wire`). UDP port 7002, on the VIP alone, sends back what
comes, behind the server's name and a colon.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import signal
import socket
from collections.abc import Sequence
from typing import cast

from lbnode.lab.churn.serving import ChurnServer
from lbnode.lab.echo import Answer, EchoError, Frames, pack_answer, unpack_request
from lbnode.lab.plan import CHURN_PORT, DRILL_PORT, HTTP_PORT, UDP_PORT, VIP

BACKLOG = 4096
CHUNK = 1 << 16
MAX_DOWNLOAD = 1 << 30
_IP_FREEBIND = 15
"""linux/in.h; Python names it from 3.13 on."""


class EchoServer(asyncio.Protocol):
    """One connection of the drill's protocol: answers each request with the server's name and its bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            bodies = self._frames.feed(data)
        except EchoError:
            self._transport.abort()
            return
        for body in bodies:
            asked = unpack_request(body)
            answer = Answer(asked.flow, asked.number, self._name, asked.payload)
            self._transport.write(pack_answer(answer))


class UdpEcho(asyncio.DatagramProtocol):
    """Answers each datagram with the server's name, a colon and its bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(f"{self._name}:".encode() + data, address)


class HttpServer:
    """Just enough HTTP/1.1 (RFC 9112) for curl and browsers: keep-alive, Content-Length, 100-continue."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client has had enough."""
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _version = first.split(" ")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if method in ("POST", "PUT"):
            await self._take_upload(reader, writer, int(headers.get("content-length", "0")))
        elif target.startswith("/bytes/"):
            await self._send_download(writer, min(int(target.removeprefix("/bytes/")), MAX_DOWNLOAD))
        else:
            self._send_text(writer, f"{self._name}\n", with_body=method != "HEAD")
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    async def _take_upload(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int
    ) -> None:
        digest, left = hashlib.sha256(), length
        while left:
            chunk = await reader.read(min(CHUNK, left))
            if not chunk:
                raise ConnectionError("the client went away in the middle of an upload")
            digest.update(chunk)
            left -= len(chunk)
        self._send_text(writer, f"{self._name} {length} {digest.hexdigest()}\n")

    async def _send_download(self, writer: asyncio.StreamWriter, length: int) -> None:
        writer.write(self._head(length))
        for start in range(0, length, CHUNK):
            writer.write(bytes(min(CHUNK, length - start)))
            await writer.drain()

    def _send_text(self, writer: asyncio.StreamWriter, text: str, *, with_body: bool = True) -> None:
        writer.write(self._head(len(text)) + (text.encode() if with_body else b""))

    def _head(self, length: int) -> bytes:
        return (
            f"HTTP/1.1 200 OK\r\nServer: {self._name}\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


def udp_socket(address: str, port: int) -> socket.socket:
    """Return a socket that answers from `address`, which the machine need not have yet."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    bound.bind((address, port))
    return bound


async def serve(name: str, http_port: int, drill_port: int, churn_port: int, host: str | None = None) -> None:
    """Serve all four protocols until cancelled; without `host` on every address of both families.

    The port that health probes ask listens last: then all do.
    """
    loop = asyncio.get_running_loop()
    drill = await loop.create_server(lambda: EchoServer(name), host, drill_port, backlog=BACKLOG)
    churn = await loop.create_server(lambda: ChurnServer(name), host, churn_port, backlog=BACKLOG)
    await loop.create_datagram_endpoint(lambda: UdpEcho(name), sock=udp_socket(str(VIP), UDP_PORT))
    http = await asyncio.start_server(HttpServer(name).serve, host, http_port, backlog=BACKLOG)
    async with http, drill, churn:
        await asyncio.gather(http.serve_forever(), drill.serve_forever(), churn.serve_forever())


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="lbnode.lab.server", description="web server and echo of the lab")
    parser.add_argument("--name", required=True, help="what the server calls itself")
    parser.add_argument("--http-port", type=int, default=HTTP_PORT)
    parser.add_argument("--drill-port", type=int, default=DRILL_PORT)
    parser.add_argument("--churn-port", type=int, default=CHURN_PORT)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(serve(chosen.name, chosen.http_port, chosen.drill_port, chosen.churn_port))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
