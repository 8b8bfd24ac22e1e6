"""Who somebody is to a fleet, and what that allows. Pure.

A certificate names its bearer in one URI among its subject's alternative names:

    evenkeel://<fleet>/<role>/<name>        evenkeel://demo/operator/alice

Any authority that can write a URI into a certificate can make one. Names do not matter for what is allowed: they say
in the log who it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

SCHEME = "evenkeel://"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")


class Role(Enum):
    """What somebody is: an operator changes the fleet, a reader looks, a node serves and looks.

    A backend may ask nothing of nodes: its certificate is for the store.
    """

    OPERATOR = "operator"
    READER = "reader"
    NODE = "node"
    BACKEND = "backend"


class Right(Enum):
    """What a request needs."""

    READ = "read"
    CHANGE = "change"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.OPERATOR: frozenset({Right.READ, Right.CHANGE}),
    Role.READER: frozenset({Right.READ}),
    Role.NODE: frozenset({Right.READ}),
    Role.BACKEND: frozenset(),
}


class IdentityError(ValueError):
    """A name, or names, that say of nobody who he is to a fleet."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody's place in one fleet."""

    fleet: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        for part in (self.fleet, self.name):
            if not _PART.fullmatch(part):
                raise IdentityError(
                    f"name {part!r}: use 1 to 63 letters, digits, dots, dashes and underscores, "
                    "no dot or dash in front"
                )

    @property
    def uri(self) -> str:
        """The name in a certificate."""
        return f"{SCHEME}{self.fleet}/{self.role.value}/{self.name}"

    def may(self, right: Right) -> bool:
        """Whether the role includes the right."""
        return right in RIGHTS[self.role]

    def __str__(self) -> str:
        return f"{self.role.value} {self.name} of fleet {self.fleet}"


def read_identity(uri: str) -> Identity:
    """Return whom `uri` names. Raises IdentityError."""
    fleet, _, rest = uri.removeprefix(SCHEME).partition("/")
    role, _, name = rest.partition("/")
    if not uri.startswith(SCHEME) or role not in {each.value for each in Role}:
        roles = "|".join(each.value for each in Role)
        raise IdentityError(f"{uri!r} names nobody: it must be {SCHEME}FLEET/{roles}/NAME")
    return Identity(fleet, Role(role), name)


def identity_among(names: Iterable[str]) -> Identity:
    """Return whom the only name of ours among `names` names. Raises IdentityError."""
    ours = [name for name in names if name.startswith(SCHEME)]
    if len(ours) != 1:
        raise IdentityError(
            f"{'several URIs' if ours else 'no URI'} {SCHEME}FLEET/ROLE/NAME in the certificate: it needs one"
        )
    return read_identity(ours[0])
