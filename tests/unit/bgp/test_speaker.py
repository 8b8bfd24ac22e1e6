"""What keeps a speaker from starting. All that it does with a running ExaBGP is in tests/integration/bgp."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from bgp.config import Neighbor, SpeakerSettings
from bgp.errors import SettingsError, SpeakerError
from bgp.process import recall
from bgp.speaker import Speaker

ROUTER = Neighbor(ip_address("127.0.0.1"), 65000, ip_address("127.0.0.2"))


def speaker(run_dir: Path, neighbor: Neighbor = ROUTER) -> Speaker:
    return Speaker(SpeakerSettings(IPv4Address("127.0.0.2"), 65001, (neighbor,)), run_dir)


async def test_an_exabgp_that_ends_at_once_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named exabgp >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(SpeakerError, match=r"start exabgp: it ended: .*no module named exabgp"):
        await speaker(tmp_path / "run").start()
    assert recall(tmp_path / "run" / "exabgp.pid") is None


async def test_a_run_directory_whose_path_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeakerError, match="choose a shorter run_dir"):
        await speaker(tmp_path / ("x" * 100)).start()


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (None, 0, "No such file"),
        ("secret\n", 0o640, "chmod 600"),
        ("secret\n", 0o604, "chmod 600"),
        ("", 0o600, "is empty"),
    ],
)
async def test_a_password_file_that_cannot_be_used_is_refused_by_the_settings_path(
    text: str | None, mode: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(SettingsError, match=rf"neighbors\.127\.0\.0\.1\.md5_password_file: .*{message}"):
        await speaker(tmp_path / "run", replace(ROUTER, md5_password_file=path)).start()


async def test_what_exabgp_reads_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o600)
    one = speaker(tmp_path / "run", replace(ROUTER, md5_password_file=path))
    await one.start()
    try:
        modes = {file.name: os.stat(file).st_mode & 0o077 for file in (tmp_path / "run").iterdir()}
    finally:
        await one.stop()
    names = ["exabgp.conf", "exabgp.env", "exabgp.log", "exabgp.out", "exabgp.sock", "relay.json"]
    assert {name: modes[name] for name in names} == dict.fromkeys(names, 0)
