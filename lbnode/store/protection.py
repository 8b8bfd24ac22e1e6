"""Closing a store that was open: for fleets that ran before they had secrets, and after a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError

from lbnode.store.access import ROOT, Access
from lbnode.store.client import OrderedHandler, Transport
from lbnode.store.tree import MissingError, StoreError, UnavailableError

CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Protected:
    """What came of it: how many znodes were closed, how many were before, and those that others keep."""

    closed: int
    before: int
    foreign: tuple[str, ...]


def protect(
    hosts: str,
    root: str,
    access: Access,
    before: Access | None = None,
    transport: Transport | None = None,
) -> Protected:
    """Give every znode of a fleet the ACL that it would be made with, from the root down. Blocks.

    `before` is what the nodes knew when it was closed last: for new passwords.

    What strangers wrote while everybody could is not told from the fleet's own: look at it first. Raises
    StoreError: out of reach, nothing there, or the root is somebody else's.
    """
    credentials = [known.credentials for known in (access, before) if known is not None]
    client = KazooClient(
        hosts=hosts, timeout=CONNECT_S, handler=OrderedHandler(transport), auth_data=credentials
    )
    root = "/" + root.strip("/")
    try:
        client.start(CONNECT_S)
        return _close_all(client, root, access)
    except NoNodeError as error:
        raise MissingError(f"store {hosts}{root}: nothing there: start a node first") from error
    except NoAuthError as error:
        raise StoreError(f"store {hosts}{root}: closed with another secret: name it with --before") from error
    except client.handler.timeout_exception as error:
        raise UnavailableError(f"store {hosts}: no answer within {CONNECT_S:g} s: start ZooKeeper") from error
    except KazooException as error:
        raise StoreError(f"store {hosts}{root}: protect: {error!r}") from error
    finally:
        client.stop()
        client.close()


def _close_all(client: Any, root: str, access: Access) -> Protected:
    closed = before = 0
    foreign: list[str] = []
    for path in _below(client, root, ROOT, foreign):
        znode = _join(root, path)
        try:
            found, _ = client.get_acls(znode)
            if set(found) == set(access.acl(path)):
                before += 1
                continue
            client.set_acls(znode, access.acl(path))
            closed += 1
        except NoAuthError:
            if path == ROOT:
                raise
            foreign.append(znode)
        except NoNodeError:
            if path == ROOT:
                raise
    return Protected(closed, before, tuple(sorted(set(foreign))))


def _below(client: Any, root: str, path: str, foreign: list[str]) -> Iterator[str]:
    """Yield `path` and all below it, each before what is in it: so that nothing is added behind our back."""
    yield path
    try:
        names = client.get_children(_join(root, path))
    except NoNodeError:
        return
    except NoAuthError:
        foreign.append(_join(root, path))
        return
    for name in sorted(names):
        yield from _below(client, root, f"{path}/{name}" if path else name, foreign)


def _join(root: str, path: str) -> str:
    return f"{root}/{path}" if path else root
