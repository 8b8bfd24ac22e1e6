"""Errors of the lab."""

from __future__ import annotations


class LabError(Exception):
    """Something about the lab that its user must know; the message names the thing and the remedy."""


class CommandError(LabError):
    """A command ended with a status other than 0."""


class OverdueError(LabError):
    """What was waited for did not happen in time."""
