"""The file with which a daemon proves to ZooKeeper that it belongs to a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lbnode.settings.errors import BadSettingsError
from lbnode.settings.secret import read_secret

WHERE = "store.secret_file"


class StoreSecret(BaseModel):
    """What one of the two parties knows: its password, and the other's name and hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    party: Literal["nodes", "backends"]
    password: Annotated[str, Field(min_length=16, pattern=r"^[!-~]+$", repr=False)]
    other: Annotated[str, Field(pattern=r"^evenkeel-(nodes|backends):[A-Za-z0-9+/]{27}=$")]


def read_store_secret(path: Path, party: str) -> StoreSecret:
    """Return the secret of `party` ("nodes" or "backends") from a file that others cannot read.

    Raises BadSettingsError, which never quotes what the file holds.
    """
    text = read_secret(path, WHERE)
    try:
        secret = StoreSecret.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError):
        raise BadSettingsError(
            f"{WHERE}: {path} is no secret for the store: make both files with: lbctl certs store"
        ) from None
    if secret.party != party:
        raise BadSettingsError(
            f"{WHERE}: {path} is the secret of {secret.party}, and this is one of the {party}: "
            f"use store-{party}.yaml"
        )
    if secret.other.startswith(f"evenkeel-{party}:"):
        raise BadSettingsError(f"{WHERE}: {path} names nobody but {party}: make both files anew")
    return secret
