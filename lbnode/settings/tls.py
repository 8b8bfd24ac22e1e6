"""What mutual TLS needs: who this process is, and by whose signature it knows others. Same for daemons and `lbctl`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class TlsSettings(BaseModel):
    """Three PEM files, made by `lbctl certs` or by an authority of one's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path = Field(
        description="a PEM file with this process's certificate, and what is between it and ca"
    )
    key: Path = Field(description="a PEM file with its private key, readable by its owner alone")
    ca: Path = Field(description="a PEM file with the authorities whose certificates are believed")


class ServerTlsSettings(TlsSettings):
    """The same for a process that is asked."""

    revoked: Path | None = Field(
        None, description="a list of certificates that count no more (lbctl certs revoke)"
    )
