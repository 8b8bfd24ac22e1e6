"""Who may do what with a fleet's znodes, and whether a znode is the fleet's at all. Pure.

There are two parties, each with one password: nodes and backends. Every node may become leader, so nodes may do
everything; backends read, and write what agents say of themselves. ZooKeeper's scheme is "digest": a party's id is its
name and a hash of its password, so either party's secret can name the other without knowing its password.

A znode that grants anybody else anything may have been written by anybody, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from kazoo.security import ACL, Id, Permissions, make_digest_acl_credential

DIGEST = "digest"
MASKED = "x"
"""What ZooKeeper shows in a hash's place to those who may only read."""

AGENTS_PLACES = ("agents", "live/agents", "reports")
"""Folders in which agents write."""

FOLDERS = ("live", *AGENTS_PLACES)
"""Folders that nodes make before anybody needs them: agents could not."""

ROOT = ""

_AGENTS_PERMISSIONS = Permissions.READ | Permissions.WRITE | Permissions.CREATE | Permissions.DELETE


class Party(Enum):
    """Whose secret it is."""

    NODES = "nodes"
    BACKENDS = "backends"

    @property
    def user(self) -> str:
        """Its name in ZooKeeper."""
        return f"evenkeel-{self.value}"


def digest_id(party: Party, password: str) -> str:
    """Return the party's id: what an ACL names it by."""
    return str(make_digest_acl_credential(party.user, password))


@dataclass(frozen=True, slots=True)
class Access:
    """What one party knows: its own password, and the other party's id."""

    party: Party
    password: str = field(repr=False)
    other: str

    @property
    def credentials(self) -> tuple[str, str]:
        """Scheme and credential, as kazoo wants them."""
        return DIGEST, f"{self.party.user}:{self.password}"

    @property
    def makes_folders(self) -> bool:
        """Whether this party makes the root and its folders; the other waits for them."""
        return self.party is Party.NODES

    def acl(self, path: str) -> list[ACL]:
        """Return what the znode of a record or folder is made with."""
        return [ACL(permissions, Id(DIGEST, name)) for name, permissions in self._allowed(path).items()]

    def ancestors_acl(self) -> list[ACL]:
        """Return what a znode above the root is made with.

        Other fleets may make their roots beside this one, and delete them: a root with anything in it cannot be.
        """
        permissions = Permissions.READ | Permissions.CREATE | Permissions.DELETE
        anyone = ACL(permissions, Id("world", "anyone"))
        return [ACL(Permissions.ALL, Id(DIGEST, self._id_of(Party.NODES))), anyone]

    def complaint(self, path: str, found: Iterable[ACL]) -> str:
        """Say who else may do what with the znode at `path`; empty if nobody may do anything that he should not."""
        allowed = self._allowed(path)
        excess = [each for each in found if not _within(each, allowed)]
        return " and ".join(f"{_who(each.id)} may {_words(each.perms)} it" for each in excess)

    def _allowed(self, path: str) -> dict[str, int]:
        agents = any(path == place or path.startswith(f"{place}/") for place in AGENTS_PLACES)
        return {
            self._id_of(Party.NODES): Permissions.ALL,
            self._id_of(Party.BACKENDS): _AGENTS_PERMISSIONS if agents else Permissions.READ,
        }

    def _id_of(self, party: Party) -> str:
        return digest_id(party, self.password) if party is self.party else self.other


def _within(entry: ACL, allowed: dict[str, int]) -> bool:
    if entry.id.scheme != DIGEST:
        return False
    user, _, shown = entry.id.id.partition(":")
    for name, permissions in allowed.items():
        is_it = name.partition(":")[0] == user if shown == MASKED else name == entry.id.id
        if is_it:
            return not entry.perms & ~permissions
    return False


def _who(identity: Id) -> str:
    """The id for people; hashes of passwords are nobody's business."""
    return f"{identity.scheme}:{identity.id.partition(':')[0]}"


_WORDS: Sequence[tuple[int, str]] = (
    (Permissions.READ, "read"),
    (Permissions.WRITE, "write"),
    (Permissions.CREATE, "create below"),
    (Permissions.DELETE, "delete below"),
    (Permissions.ADMIN, "open"),
)


def _words(permissions: int) -> str:
    return ", ".join(word for bit, word in _WORDS if permissions & bit) or "do nothing with"
