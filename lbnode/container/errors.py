"""Why a container cannot run."""

from __future__ import annotations


class ContainerError(Exception):
    """One line: what is wrong with the container, and what to change in the compose file."""
