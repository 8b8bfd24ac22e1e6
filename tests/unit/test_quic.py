"""Connection ids that name a backend: minted, read back, and refused where there can be none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnode.quic import (
    LONGEST,
    UNROUTABLE,
    ConnectionIds,
    QuicIdError,
    read_server_id,
    server_of,
    server_of_packet,
)

SERVERS = st.integers(1, 65535)
CONFIGS = st.integers(0, UNROUTABLE - 1)


@given(SERVERS, CONFIGS, st.integers(7, LONGEST))
def test_an_id_that_is_minted_names_its_server_to_its_own_configuration_alone(
    server: int, config: int, length: int
) -> None:
    connection_id = ConnectionIds(server, config, length).mint()
    assert len(connection_id) == length
    assert connection_id[0] & 0x1F == length - 1
    assert [each for each in range(8) if server_of(connection_id, each)] == [config]
    assert server_of(connection_id, config) == server


def test_ids_of_one_server_differ() -> None:
    ids = ConnectionIds(7)
    assert len({ids.mint() for _ in range(100)}) == 100


def test_the_drafts_own_example_is_read() -> None:
    """draft-ietf-quic-load-balancers-21, B.1; its servers have longer ids: we read the first two octets."""
    assert server_of(bytes.fromhex("07c4605e4504cc4f"), 0) == 0xC460
    assert server_of(bytes.fromhex("2a350d28b4203487d9700b"), 1) == 0x350D


@pytest.mark.parametrize(
    ("server", "config", "length", "said"),
    [
        (0, 0, 8, "server id 0: a backend's id is 1..65535"),
        (65536, 0, 8, "server id 65536"),
        (1, 7, 8, r"config_id 7: use 0\.\.6"),
        (1, 0, 6, r"a connection id of 6 octets: use 7\.\.20"),
        (1, 0, 21, "21 octets"),
    ],
)
def test_what_no_id_can_say_is_refused(server: int, config: int, length: int, said: str) -> None:
    with pytest.raises(QuicIdError, match=said):
        ConnectionIds(server, config, length)


@given(st.binary(max_size=40), CONFIGS)
def test_whatever_comes_names_a_server_or_nobody(payload: bytes, config: int) -> None:
    named = server_of_packet(payload, config)
    assert named is None or 0 < named < 65536


def test_only_ids_that_the_server_chose_name_it() -> None:
    connection_id = ConnectionIds(300).mint()
    long = b"\0\0\0\1\x08" + connection_id + b"rest"
    assert server_of_packet(b"\x41" + connection_id) == 300
    assert [server_of_packet(bytes([first]) + long) for first in (0xC0, 0xD0, 0xE0, 0xF0)] == [
        None,
        None,
        300,
        None,
    ]


def test_a_shell_script_gets_an_id_from_the_file_that_the_agent_keeps(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("513\n")
    assert read_server_id(tmp_path / "id") == 513
    command = [sys.executable, "-m", "lbnode.quic", str(tmp_path / "id")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert server_of(bytes.fromhex(said)) == 513


@pytest.mark.parametrize("text", [None, "", "b1"])
def test_without_an_id_the_remedy_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "id").write_text(text)
    with pytest.raises(QuicIdError, match="is lbbackend running, and in a fleet"):
        read_server_id(tmp_path / "id")
