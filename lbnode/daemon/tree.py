"""The store that a daemon's settings name, and what proves there whose daemon it is."""

from __future__ import annotations

from lbnode.daemon.credentials import Credentials
from lbnode.settings.store import StoreSettings, ZooKeeperSettings
from lbnode.settings.store_secret import read_store_secret
from lbnode.store.access import Access, Party
from lbnode.store.client import Transport
from lbnode.store.files import FileTree
from lbnode.store.interest import Interest
from lbnode.store.tree import Tree
from lbnode.store.zookeeper import ZooKeeperTree


def make_tree(store: StoreSettings, fleet: str, interest: Interest, access: Access | None) -> Tree:
    """Return the store of `fleet`, not yet started; `interest`: what the daemon needs of it how soon."""
    if isinstance(store, ZooKeeperSettings):
        return ZooKeeperTree(
            ",".join(store.hosts),
            root_of(fleet),
            interest=interest,
            access=access,
            transport=transport_of(store),
        )
    return FileTree(store.path / fleet)


def read_access(store: StoreSettings, party: Party) -> Access | None:
    """Return what the store's secret allows; None where everything is open.

    Raises BadSettingsError, also for certificates that ZooKeeper would refuse.
    """
    if not isinstance(store, ZooKeeperSettings):
        return None
    if store.tls is not None:
        Credentials(store.tls, "store.tls")
    if store.secret_file is None:
        return None
    secret = read_store_secret(store.secret_file, party.value)
    return Access(party, secret.password, secret.other)


def transport_of(store: ZooKeeperSettings) -> Transport | None:
    """Return how to reach the servers: in the clear, or by TLS."""
    tls = store.tls
    return None if tls is None else Transport(tls.certificate, tls.key, tls.ca)


def root_of(fleet: str) -> str:
    """Return the znode of a fleet."""
    return f"evenkeel/{fleet}"
