"""The faults that `make fuzz-faults` plants: each once made somewhere, or easily made here."""

from __future__ import annotations

from tests.fuzz.planted_agent import AGENT
from tests.fuzz.planted_node import NODE

FAULTS = (*NODE, *AGENT)
