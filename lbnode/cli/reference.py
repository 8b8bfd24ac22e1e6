"""`python -m lbnode.cli.reference DOCS`: write docs/schema/*.json and docs/settings.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lbnode.cli.ctl_config import TITLES, Kind, schema_of
from lbnode.settings.reference import settings_page


def pages() -> dict[str, str]:
    """Return every file below docs/ that is made from the settings' models, by its path."""
    files = {
        f"schema/{TITLES[kind].removesuffix('.yaml')}.schema.json": json.dumps(schema_of(kind), indent=2)
        + "\n"
        for kind in Kind
    }
    whole = {TITLES[kind]: schema_of(kind, complete=True) for kind in Kind}
    return {**files, "settings.md": settings_page(whole)}


if __name__ == "__main__":
    for path, text in pages().items():
        place = Path(sys.argv[1]) / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
