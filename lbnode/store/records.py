"""Which record lies where, and how a snapshot of the tree becomes a `FleetView`. Pure.

    identity · desired · intents · ids                  one record each
    nodes/<n> · backends/<b> · agents/<b>               members: only an explicit removal ends them
    epochs/<pool>/<number, ten digits> · current/<pool>
    questions/<pool> · reports/<pool>/<b> · held/<pool>  what planned changes wait for
    live/nodes/<n> · live/agents/<b>                    end with the process that announced them

A record that cannot be read is named in `FleetView.corrupt`. If it is a lasting one and was read before, what it
said then goes on to count; else it is left out. Paths of other releases are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lbnode.model.codec import CorruptRecordError, decode
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.flows import FlowQuestion, FlowReport, HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, NodeName, PoolName
from lbnode.model.members import AgentLive, AgentMember, BackendMember, FleetIdentity, NodeLive, NodeMember
from lbnode.model.view import FleetView, IdLedger
from lbnode.store.tree import Entry

IDENTITY: Final = "identity"
DESIRED: Final = "desired"
INTENTS: Final = "intents"
IDS: Final = "ids"


def node_path(name: NodeName) -> str:
    return f"nodes/{name}"


def backend_path(name: BackendName) -> str:
    return f"backends/{name}"


def agent_path(name: BackendName) -> str:
    return f"agents/{name}"


def epoch_path(pool: PoolName, number: EpochNumber) -> str:
    return f"epochs/{pool}/{number:010d}"


def current_path(pool: PoolName) -> str:
    return f"current/{pool}"


def live_node_path(name: NodeName) -> str:
    return f"live/nodes/{name}"


def live_agent_path(name: BackendName) -> str:
    return f"live/agents/{name}"


def question_path(pool: PoolName) -> str:
    return f"questions/{pool}"


def report_path(pool: PoolName, backend: BackendName) -> str:
    return f"reports/{pool}/{backend}"


def held_path(pool: PoolName) -> str:
    return f"held/{pool}"


_PAIRS: Final = frozenset({"epochs", "reports"})
"""Folders of folders: a pool, and what it has several of."""

_KINDS: Final[dict[str, type]] = {
    IDENTITY: FleetIdentity,
    DESIRED: DesiredFleet,
    INTENTS: Intents,
    IDS: IdLedger,
    "nodes": NodeMember,
    "backends": BackendMember,
    "agents": AgentMember,
    "epochs": Epoch,
    "current": int,
    "questions": FlowQuestion,
    "reports": FlowReport,
    "held": HeldChanges,
    "live/nodes": NodeLive,
    "live/agents": AgentLive,
}


_LASTING: Final = frozenset({DESIRED, INTENTS, IDS, "nodes", "backends", "agents", "epochs", "current"})
"""Kinds of which the last good record counts while the one in the store cannot be read."""


class Place(NamedTuple):
    """A path taken apart: the folder that says what kind of record it is, and the names below."""

    folder: str
    names: tuple[str, ...]


@lru_cache(maxsize=8192)
def place_of(path: str) -> Place | None:
    """Return what `path` is about; None if no record of this release lies there."""
    parts = path.split("/")
    depth = 2 if parts[0] == "live" else 1
    folder, names = "/".join(parts[:depth]), tuple(parts[depth:])
    expected = 0 if folder in (IDENTITY, DESIRED, INTENTS, IDS) else 2 if folder in _PAIRS else 1
    return Place(folder, names) if folder in _KINDS and len(names) == expected else None


def read_record(path: str, value: bytes) -> Any:
    """Return the record that `value` holds, after checking that it belongs at `path`.

    Raises CorruptRecordError. The path must be one that `place_of` knows.
    """
    place = place_of(path)
    if place is None:
        raise CorruptRecordError(f"{path}: no place for a record")
    record: Any = decode(_KINDS[place.folder], value)
    if isinstance(record, Epoch):
        proper = epoch_path(record.pool, record.number)
    elif isinstance(record, FlowReport):
        proper = report_path(record.pool, record.backend)
    elif isinstance(record, FlowQuestion | HeldChanges):
        proper = f"{place.folder}/{record.pool}"
    elif place.names and hasattr(record, "name"):
        proper = f"{place.folder}/{record.name}"
    else:
        proper = path
    if proper != path:
        raise CorruptRecordError(f"the record belongs at {proper}")
    return record


def read_identity(value: bytes) -> FleetIdentity | None:
    """Return the fleet's identity; None if it cannot be read."""
    try:
        return decode(FleetIdentity, value)
    except CorruptRecordError:
        return None


@dataclass(frozen=True, slots=True)
class _Read:
    """What came of an entry: a record, or why there is none."""

    entry: Entry
    record: Any
    problem: str = ""


@dataclass(slots=True)
class Reader:
    """Turns snapshots into views; remembers what it has decoded and which epochs were current."""

    _read: dict[str, _Read] = field(default_factory=dict)
    _good: dict[str, Any] = field(default_factory=dict)
    _current: dict[PoolName, EpochNumber] = field(default_factory=dict)
    _last: tuple[Mapping[str, Entry], str | None, bool] | None = None
    _view: FleetView = field(default_factory=FleetView)

    def remember(self, view: FleetView) -> None:
        """Let the lasting records of `view`, known from elsewhere, stand in for those that cannot be read."""
        self._good |= lasting_records(view)
        self._last = None

    def view(self, entries: Mapping[str, Entry], leader: str | None, connected: bool) -> FleetView:
        """Return the view of a snapshot: the same object as before when nothing has changed.

        Only entries that are new since the last call are decoded.
        """
        asked = (entries, leader, connected)
        if asked != self._last:
            self._view, self._last = self._new_view(entries, leader, connected), asked
        return self._view

    def _new_view(self, entries: Mapping[str, Entry], leader: str | None, connected: bool) -> FleetView:
        self._read = {path: self._fresh(path, entry) for path, entry in entries.items() if place_of(path)}
        if connected:
            self._good = {path: record for path, record in self._good.items() if path in self._read}
        view = _settled(self._assembled(leader, connected), self._current)
        self._current = dict(view.current)
        return view

    def _fresh(self, path: str, entry: Entry) -> _Read:
        known = self._read.get(path)
        if known is not None and known.entry is entry:
            return known
        try:
            return _Read(entry, read_record(path, entry.value))
        except CorruptRecordError as error:
            return _Read(entry, None, f"{path}: {error}")

    def _assembled(self, leader: str | None, connected: bool) -> FleetView:
        folders: dict[str, dict[tuple[str, ...], Any]] = {folder: {} for folder in _KINDS}
        identity = self._read[IDENTITY].record if IDENTITY in self._read else None
        problems = {}
        for path, found in self._read.items():
            folder, names = place_of(path) or _NOWHERE
            problem, record = found.problem or _foreign(path, found.record, identity), found.record
            if problem:
                problems[path] = problem
                record = self._good.get(path)
            elif folder in _LASTING:
                self._good[path] = record
            if record is not None:
                folders[folder][names] = record
        view = _view(folders, leader, connected)
        return replace(
            view,
            identity=identity,
            desired_version=_version(self._read, DESIRED),
            intents_version=_version(self._read, INTENTS),
            corrupt=tuple(sorted(problems.values())),
            damaged=_damaged(problems),
        )


def lasting_records(view: FleetView) -> dict[str, Any]:
    """Return the records of a view that outlive processes, by path."""
    found: dict[str, Any] = {INTENTS: view.intents, IDS: view.ids}
    if view.desired is not None:
        found[DESIRED] = view.desired
    found |= {node_path(name): member for name, member in view.nodes.items()}
    found |= {backend_path(name): member for name, member in view.backends.items()}
    found |= {agent_path(name): member for name, member in view.agents.items()}
    found |= {current_path(pool): number for pool, number in view.current.items()}
    for pool, epochs in view.epochs.items():
        found |= {epoch_path(pool, number): epoch for number, epoch in epochs.items()}
    return found


_NOWHERE: Final = Place("", ())


def _foreign(path: str, record: Any, identity: FleetIdentity | None) -> str:
    if isinstance(record, Epoch) and identity and record.fleet != identity.uuid:
        return f"{path}: an epoch of another fleet, {record.fleet}"
    return ""


def _damaged(problems: Mapping[str, str]) -> dict[PoolName, tuple[EpochNumber, ...]]:
    """The epochs among the paths of records that cannot be read."""
    found: dict[PoolName, tuple[EpochNumber, ...]] = {}
    for path in sorted(problems):
        folder, names = place_of(path) or _NOWHERE
        if folder == "epochs" and names[1].isdecimal():
            pool = PoolName(names[0])
            found[pool] = (*found.get(pool, ()), EpochNumber(int(names[1])))
    return found


def _view(
    folders: Mapping[str, Mapping[tuple[str, ...], Any]], leader: str | None, connected: bool
) -> FleetView:
    return FleetView(
        desired=folders[DESIRED].get(()),
        intents=folders[INTENTS].get((), Intents()),
        ids=folders[IDS].get((), IdLedger()),
        nodes=_by_name(folders["nodes"]),
        backends=_by_name(folders["backends"]),
        agents=_by_name(folders["agents"]),
        epochs=_by_pool(folders["epochs"]),
        current=_by_name(folders["current"]),
        live_nodes=_by_name(folders["live/nodes"]),
        live_agents=_by_name(folders["live/agents"]),
        questions=_by_name(folders["questions"]),
        reports=_by_pool(folders["reports"]),
        held=_by_name(folders["held"]),
        leader=NodeName(leader) if leader else None,
        connected=connected,
    )


def _settled(view: FleetView, before: Mapping[PoolName, EpochNumber]) -> FleetView:
    """Let `current` name only epochs that can be read: the one before while the new one cannot."""
    current, problems = {}, []
    for pool, number in view.current.items():
        if number in view.epochs.get(pool, {}):
            current[pool] = number
            continue
        problems.append(f"{current_path(pool)}: names epoch {number}, which cannot be read")
        if before.get(pool) in view.epochs.get(pool, {}):
            current[pool] = before[pool]
    if not problems:
        return view
    return replace(view, current=current, corrupt=tuple(sorted((*view.corrupt, *problems))))


def _version(read: Mapping[str, _Read], path: str) -> int:
    return read[path].entry.version if path in read else -1


def _by_name(records: Mapping[tuple[str, ...], Any]) -> dict[Any, Any]:
    return {names[0]: record for names, record in sorted(records.items())}


def _by_pool(records: Mapping[tuple[str, ...], Any]) -> dict[PoolName, dict[Any, Any]]:
    pools: dict[PoolName, dict[Any, Any]] = {}
    for (pool, name), record in sorted(records.items()):
        pools.setdefault(PoolName(pool), {})[record.number if isinstance(record, Epoch) else name] = record
    return pools
