from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lbnode.model.requests import Refusal, RefusalKind
from lbnode.rpc.errors import ListenError
from lbnode.rpc.listen import check_listen_address
from lbnode.rpc.services import MAX_DETAILS, refusal_details


@pytest.mark.parametrize("address", ["127.0.0.1:7946", "127.0.0.53:0", "[::1]:7946", "localhost:1"])
def test_loopback_is_fine(address: str) -> None:
    assert check_listen_address(address) == address


@pytest.mark.parametrize("address", ["0.0.0.0:7946", "[::]:7946", "192.0.2.1:7946", "node1.example.org:7946"])
def test_anything_that_others_can_reach_needs_tls(address: str) -> None:
    with pytest.raises(ListenError, match=r"not loopback, and without TLS .* set rpc.tls, or use unix:"):
        check_listen_address(address)


@pytest.mark.parametrize("address", ["", "7946", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ":7946"])
def test_what_is_no_address_is_refused_with_the_forms_that_are(address: str) -> None:
    with pytest.raises(ListenError, match=r"not an address; use unix:/path/to/socket"):
        check_listen_address(address)


def test_a_free_socket_path_is_fine(tmp_path: Path) -> None:
    assert check_listen_address(f"unix:{tmp_path}/rpc.sock") == f"unix:{tmp_path}/rpc.sock"


def test_a_socket_that_a_dead_server_left_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "rpc.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert check_listen_address(f"unix:{path}")


def test_a_socket_on_which_somebody_listens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rpc.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="another process listens there"):
            check_listen_address(f"unix:{path}")


def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, words in (
        (file, "the file there is no socket"),
        (tmp_path / "absent" / "rpc.sock", "no directory .*absent; create it"),
        (Path("rpc.sock"), "not absolute; use unix:/"),
        (tmp_path / ("x" * 108), "longer than 107 bytes"),
    ):
        with pytest.raises(ListenError, match=words):
            check_listen_address(f"unix:{path}")


def test_a_refusal_fits_a_header_however_long_it_is() -> None:
    reason = "\n".join(f"fleet.yaml:{number}: something is wrong" for number in range(1000))
    details = refusal_details(Refusal(RefusalKind.INVALID, reason, "correct it"))
    assert len(details) < MAX_DETAILS + 100
    lines = details.splitlines()
    assert lines[-1] == "correct it"
    assert lines[-2] == f"… and {1000 - (len(lines) - 2)} more"
    assert refusal_details(Refusal(RefusalKind.STATE, "no", "")) == "no\n"
