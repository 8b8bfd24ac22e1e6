"""Errors of this package: one base class, messages that read as a path and name the remedy."""

from __future__ import annotations


class BgpError(Exception):
    """Anything that went wrong between the node and its routers."""


class RouteError(BgpError, ValueError):
    """A route or community that cannot exist, or two routes for one prefix."""


class SettingsError(BgpError, ValueError):
    """A setting of the speaker that cannot work; the message begins with the field's path."""


class MessageError(BgpError, ValueError):
    """A line between daemon, relay and ExaBGP that is not of the agreed form."""


class SpeakerError(BgpError):
    """ExaBGP could not be started, reached or ended."""
