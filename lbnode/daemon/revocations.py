"""The list of certificates that count no more, read from its file again whenever that has changed.

A list that is gone, or not understood whole, leaves the one before in use, and is complained about.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from lbnode.certs.errors import CertificateError
from lbnode.certs.revocation import Revoked, read_revoked
from lbnode.daemon.stamp import stamp
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.secret import MOST_BYTES, read_public

log = structlog.get_logger()


class Revocations:
    """The list in the file at `path`; without one nothing is revoked. `where` begins messages: the setting's name.

    Raises BadSettingsError when there is nothing before that could be left in use.
    """

    def __init__(self, path: Path | None, where: str) -> None:
        self._path, self._where = path, where
        self.complaint = ""
        """What is wrong with the file; empty if nothing is."""
        if path is not None:
            self._stamp = stamp(path)
            self._revoked = self._read(path)

    def current(self) -> Revoked:
        """Return what counts no more now; never raises."""
        if self._path is None:
            return Revoked()
        found = stamp(self._path)
        if found != self._stamp:
            self._stamp = found
            self._renew(self._path)
        return self._revoked

    def _renew(self, path: Path) -> None:
        try:
            self._revoked = self._read(path)
        except BadSettingsError as error:
            self.complaint = f"{error}: the list before it stays in use"
            log.error("revoked certificates not read: going on with the list before", reason=str(error))
        else:
            self.complaint = ""
            revoked = self._revoked
            log.info(
                "revoked certificates read",
                certificates=len(revoked.fingerprints),
                bearers=len(revoked.bearers),
            )

    def _read(self, path: Path) -> Revoked:
        content = read_public(path, self._where)
        try:
            if len(content) == MOST_BYTES:
                raise CertificateError("too long: change the authority instead")
            return read_revoked(content.decode("utf-8"))
        except (CertificateError, UnicodeDecodeError) as error:
            raise BadSettingsError(f"{self._where}: {path}: {error}") from error
