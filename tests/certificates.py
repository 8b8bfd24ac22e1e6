"""Certificates for tests: a fleet's authority, strangers' ones, in files or in memory, valid or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lbnode.certs.authority import issue, make_authority
from lbnode.certs.pair import Pair
from lbnode.model.access import Identity, Role
from lbnode.rpc.port import TlsMaterial
from lbnode.settings.tls import TlsSettings

DAY = timedelta(days=1)
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(slots=True)
class Authority:
    """One authority; `folder` is where it puts files."""

    folder: Path
    fleet: str = "demo"
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - 2 * DAY)
    pair: Pair = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pair = make_authority(self.fleet, self.began, 1000 * DAY)

    def issue(self, role: Role, name: str, days: float = 100, fleet: str = "") -> Pair:
        """Return a certificate that is good for `days` from now on, or none any more if that is negative."""
        hosts = LOOPBACK if role is Role.NODE else ()
        life = datetime.now(UTC) - self.began + days * DAY
        return issue(self.pair, Identity(fleet or self.fleet, role, name), hosts, self.began, life)

    def material(self, role: Role, name: str = "x", days: float = 100, fleet: str = "") -> TlsMaterial:
        """Return what such a bearer has."""
        made = self.issue(role, name, days, fleet)
        return TlsMaterial(made.certificate, made.key, self.pair.certificate)

    def write(self, made: Pair) -> TlsSettings:
        """Put a certificate in the folder, in the place of the one before; return the settings that name it."""
        settings = TlsSettings(
            certificate=self.folder / "own.crt", key=self.folder / "own.key", ca=self.folder / "ca.crt"
        )
        settings.ca.write_bytes(self.pair.certificate)
        settings.key.touch(0o600)
        settings.key.write_bytes(made.key)
        settings.certificate.write_bytes(made.certificate)
        return settings
