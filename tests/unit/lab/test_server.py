"""The backends' web server, asked by a real HTTP client."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lbnode.lab.server import HttpServer, UdpEcho, udp_socket


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await asyncio.start_server(HttpServer("b7").serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def curl(*arguments: str) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-m", "10", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out


async def test_a_page_is_the_servers_name(port: int) -> None:
    assert await curl(f"http://127.0.0.1:{port}/") == (0, b"b7\n")


async def test_one_connection_serves_several_requests(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"

    status, out = await curl("-w", "%{num_connects} ", url, url, url)

    assert status == 0
    assert out == b"b7\n1 b7\n0 b7\n0 "


async def test_an_upload_is_answered_with_its_size_and_digest(port: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    (tmp_path / "upload").write_bytes(content)

    answer = await curl("--data-binary", f"@{tmp_path / 'upload'}", f"http://127.0.0.1:{port}/")

    assert answer == (0, f"b7 {len(content)} {hashlib.sha256(content).hexdigest()}\n".encode())


async def test_a_download_has_the_size_that_was_asked_for(port: int) -> None:
    status, out = await curl(f"http://127.0.0.1:{port}/bytes/1000000")

    assert (status, len(out)) == (0, 1000000)


async def test_a_datagram_comes_back_behind_the_servers_name_from_the_address_that_it_was_sent_to() -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(lambda: UdpEcho("b7"), sock=udp_socket("127.0.0.9", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, server.get_extra_info("sockname"))
        await loop.sock_sendall(client, b"hello")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"b7:hello"
    server.close()


async def test_nonsense_ends_the_connection_and_nothing_else(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"nonsense\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()

    assert await curl(f"http://127.0.0.1:{port}/") == (0, b"b7\n")
