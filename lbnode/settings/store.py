"""Where the fleet's memory is: a ZooKeeper ensemble, or a directory on this machine. Same for all daemons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lbnode.settings.tls import TlsSettings

CLOSED = ConfigDict(extra="forbid", frozen=True)


class ZooKeeperSettings(BaseModel):
    """A fleet's store."""

    model_config = CLOSED

    kind: Literal["zookeeper"]
    hosts: tuple[str, ...] = Field(min_length=1, description="a list of host:port of ZooKeeper servers")
    secret_file: Path | None = Field(
        None,
        description="store-nodes.yaml or store-backends.yaml (lbctl certs store); without it all is open",
    )
    tls: TlsSettings | None = Field(
        None, description="certificate, key and ca: mutual TLS to the servers' secureClientPort"
    )


class FileStoreSettings(BaseModel):
    """A single machine's store."""

    model_config = CLOSED

    kind: Literal["file"]
    path: Path = Field(description="a directory that all daemons of this machine share")


StoreSettings = Annotated[ZooKeeperSettings | FileStoreSettings, Field(discriminator="kind")]
