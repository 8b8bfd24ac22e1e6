"""The files of one ExaBGP in the run directory of its node, and the command that runs it from them.

ExaBGP reads nothing else: its environment file and variables are ours alone, so a configuration of the
machine's own ExaBGP has no effect here. It runs as the daemon's own user, so that the socket needs no other
reader.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from bgp.config import IPAddress, Neighbor, SpeakerSettings, configuration, environment
from bgp.errors import SettingsError, SpeakerError
from bgp.process import Process, spawn
from bgp.relay import describe

LONGEST_SOCKET_PATH = 107
"""unix(7): `sun_path` holds 108 bytes with the closing zero."""
LAST_WORDS = 5
"""Lines of each log that are quoted when ExaBGP has died."""


class Installation:
    """Where everything of one ExaBGP lies. `mark` names the configuration: equal marks, equal behaviour."""

    def __init__(self, settings: SpeakerSettings, run_dir: Path, adopt_s: float) -> None:
        self.socket = run_dir / "exabgp.sock"
        self.pid_file = run_dir / "exabgp.pid"
        self._run_dir = run_dir
        self._log = run_dir / "exabgp.log"
        self._output = run_dir / "exabgp.out"
        self._configuration = run_dir / "exabgp.conf"
        self._environment = run_dir / "exabgp.env"
        self._relay = run_dir / "relay.json"
        self._settings = settings
        self._adopt_s = adopt_s

    def prepare(self) -> None:
        """Make the run directory. Raises SpeakerError if it cannot hold what ExaBGP needs."""
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH:
            raise SpeakerError(
                f"listen on {self.socket}: longer than {LONGEST_SOCKET_PATH} bytes: choose a shorter run_dir"
            )
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeakerError(f"make {self._run_dir}: {error.strerror}") from error

    def mark(self) -> str:
        """Return the mark of the configuration as it would be written now. Raises SettingsError."""
        text = "\0".join([*self._texts().values(), self._describe_relay("")])
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self) -> None:
        """Write ExaBGP's files, readable by the daemon's user alone. Raises SettingsError, SpeakerError."""
        texts = {**self._texts(), self._relay: self._describe_relay(self.mark())}
        for path, text in texts.items():
            _write_private(path, text)
        self._log.touch(0o600)

    def spawn(self) -> Process:
        """Start ExaBGP from the files. Raises SpeakerError."""
        command = [sys.executable, "-m", "exabgp", "server", str(self._configuration)]
        return spawn(command, self._variables(), self._output)

    def forget(self) -> None:
        """Remove what names a running ExaBGP."""
        self.pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    def last_words(self) -> str:
        """Return the last lines that ExaBGP wrote, to its log and to standard error, on one line."""
        lines = [line for path in (self._log, self._output) for line in _tail(path)]
        return " | ".join(lines) or f"nothing in {self._log}"

    def _texts(self) -> dict[Path, str]:
        passwords = {
            neighbor.address: _password(neighbor, neighbor.md5_password_file)
            for neighbor in self._settings.neighbors
            if neighbor.md5_password_file is not None
        }
        return {
            self._configuration: self._configure(passwords),
            self._environment: environment(_user(), self._log),
        }

    def _configure(self, passwords: Mapping[IPAddress, str]) -> str:
        relay = [sys.executable, "-m", "bgp.relay", str(self._relay)]
        return configuration(self._settings, relay, passwords)

    def _describe_relay(self, mark: str) -> str:
        return describe(self.socket, mark, self._adopt_s, self._settings.neighbors)

    def _variables(self) -> dict[str, str]:
        """The daemon's own, without anything that configures ExaBGP, and the way to our packages."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.lower().startswith("exabgp")
        }
        packages = str(Path(__file__).resolve().parent.parent)
        paths = [packages, *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
        return inherited | {
            "EXABGP_ENVFILE": str(self._environment),
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONSAFEPATH": "1",
        }


def _password(neighbor: Neighbor, path: Path) -> str:
    where = f"neighbors.{neighbor.address}.md5_password_file"
    try:
        with path.open() as file:
            status = os.fstat(file.fileno())
            lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{where}: read {path}: {getattr(error, 'strerror', None) or error}") from error
    if os.geteuid() and status.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"{where}: {path} belongs to user {status.st_uid}: chown it to the user who runs this"
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{where}: {path} is open to other users: chmod 600 {path}")
    if not lines:
        raise SettingsError(f"{where}: {path} is empty: its first line is the password")
    return lines[0]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError as error:
        raise SpeakerError(
            f"start exabgp: user id {os.getuid()} has no name: add it to /etc/passwd"
        ) from error


def _write_private(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".new")
    try:
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        aside.replace(path)
    except OSError as error:
        raise SpeakerError(f"write {path}: {error.strerror}") from error


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-LAST_WORDS:]
