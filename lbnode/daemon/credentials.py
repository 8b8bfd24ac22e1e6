"""What this process shows others in TLS, read from its files again whenever they have changed.

Nothing but whole and valid credentials are ever used: a pair that is half replaced, expired or another's leaves the
one before in use, and is complained about once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from lbnode.certs.errors import CertificateError
from lbnode.certs.judgement import Certificate, judge
from lbnode.daemon.revocations import Revocations
from lbnode.daemon.stamp import Stamp, stamp
from lbnode.model.access import Identity
from lbnode.rpc.port import TlsMaterial
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.secret import read_public, read_secret
from lbnode.settings.tls import TlsSettings

log = structlog.get_logger()

WARN_BEFORE = timedelta(days=14)


class Credentials:
    """Implements `lbnode.rpc.port.TlsPort`. `current` may be called in any thread.

    `where` begins messages: the settings' name. `serves`: they are for a server. `check` (by default none) raises
    CertificateError for a certificate that is good but not for this process. `revoked`: the list of those that
    count no more.
    """

    def __init__(
        self,
        settings: TlsSettings,
        where: str,
        *,
        serves: bool = False,
        check: Callable[[Certificate], object] = str,
        revoked: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._where, self._serves = settings, where, serves
        self._check, self._clock = check, clock
        self._lock = threading.Lock()
        self._complaint = ""
        self._stamps = self._look()
        self._material, self._said = self._read()
        self._revocations = Revocations(revoked, f"{where}.revoked")

    @property
    def certificate(self) -> Certificate:
        """What the certificate in use says."""
        return self._said

    @property
    def fleet(self) -> str:
        """The fleet that this process belongs to."""
        return self._said.identity.fleet

    def current(self) -> TlsMaterial:
        """Return what is to be used from now on; never raises."""
        with self._lock:
            found = self._look()
            if found != self._stamps:
                self._stamps = found
                self._renew()
            return self._material

    def is_revoked(self, certificate: bytes, bearer: Identity) -> bool:
        """Whether this PEM certificate of `bearer` counts no more, by the list as it is now."""
        return self._revocations.current().covers(certificate, bearer)

    def alarms(self) -> Iterator[str]:
        """Say what is wrong with the certificate in use and with the list of those that count no more."""
        if said := self._alarm():
            yield said
        if self.is_revoked(self._material.certificate, self._said.identity):
            of, file = self._said.identity, self._settings.certificate
            yield f"{self._where}: the certificate of {of} was revoked: renew {file}"
        if self._revocations.complaint:
            yield self._revocations.complaint

    def _alarm(self) -> str:
        """Say what is wrong with the certificate in use, or will be soon; empty if nothing is."""
        left = self._said.ends - self._clock()
        if left > WARN_BEFORE:
            return self._complaint
        when = "expired" if left < timedelta(0) else f"expires in {max(left.days, 0)} days,"
        return (
            f"{self._where}: the certificate of {self._said.identity} {when} "
            f"on {self._said.ends:%Y-%m-%d %H:%M} UTC: renew {self._settings.certificate}"
        )

    def _renew(self) -> None:
        try:
            self._material, self._said = self._read()
        except BadSettingsError as error:
            if str(error) != self._complaint:
                log.error("certificate not renewed: going on with the one before", reason=str(error))
            self._complaint = str(error)
        else:
            self._complaint = ""
            log.info("certificate renewed", of=str(self._said.identity), until=self._said.ends.isoformat())

    def _read(self) -> tuple[TlsMaterial, Certificate]:
        """Read and judge all three files. Raises BadSettingsError."""
        settings = self._settings
        certificate = read_public(settings.certificate, f"{self._where}.certificate")
        key = read_secret(settings.key, f"{self._where}.key")
        ca = read_public(settings.ca, f"{self._where}.ca")
        try:
            said = judge(certificate, key, ca, serves=self._serves, now=self._clock())
            self._check(said)
        except CertificateError as error:
            raise BadSettingsError(
                f"{self._where}: {settings.certificate}: {error}; make another: lbctl certs issue --help"
            ) from error
        return TlsMaterial(certificate, key, ca), said

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(
            stamp(path) for path in (self._settings.certificate, self._settings.key, self._settings.ca)
        )
