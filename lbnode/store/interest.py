"""Which records a process reads, and how soon after a change.

Every change of a record that everybody watches costs everybody a read: with as many members as a fleet has, what
they say of themselves would keep them all busy while an epoch wants to be loaded. An agent needs it only when it
leaves; of the nodes only the leader needs it at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interest:
    """Folders and records: `unread` is never in the mirror, `on_demand` is read only when somebody asks for it
    (`Tree.catch_up`), `at_leisure` up to `leisure_s` after a change.

    What this process reads for the first time is never late; nor is anything while it leads.
    """

    unread: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()
    at_leisure: tuple[str, ...] = ()
    leisure_s: float = 0.0

    def skips(self, path: str) -> bool:
        """Whether the record at `path` is none of this process's business."""
        return _is_below(path, self.unread)

    def can_wait(self, path: str) -> bool:
        """Whether a change at `path` may be read later."""
        return _is_below(path, self.on_demand) or self.has_leisure(path)

    def has_leisure(self, path: str) -> bool:
        """Whether a change at `path` is read `leisure_s` later although nobody asks."""
        return _is_below(path, self.at_leisure)


EVERYTHING = Interest()
OF_NODES = Interest(at_leisure=("live", "reports"), leisure_s=1.0)
OF_AGENTS = Interest(
    unread=("leader", "reports", "held"),
    on_demand=("live",),
    at_leisure=("current", "intents", "ids"),
    leisure_s=0.2,
)
"""An agent goes by the newest epoch; that it is current now matters for what is asked of it half a second later."""


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
