"""YAML text as plain data that remembers its lines. The one place that knows PyYAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from lbnode.settings.fleet_errors import FleetFileError, FleetProblem, Path

MAX_DEPTH = 32
"""fleet.yaml nests five deep; what nests much deeper would exhaust the parser's stack."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: ten times as fast, with the same results."""

MAX_BYTES = 3 << 20
"""gRPC takes messages up to 4 MiB; 10,000 backends in 100 pools are below 1 MiB."""


class YamlDocument:
    """The data of one YAML document. `line` finds where something stands."""

    def __init__(self, data: object, root: yaml.Node) -> None:
        self.data = data
        self._root = root

    def line(self, path: Path) -> int:
        """Return the line, from 1, of what `path` names, or of the nearest thing around it that exists."""
        node, line = self._root, _line(self._root)
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line


def parse(text: str, source: str) -> YamlDocument:
    """Return the document in `text`.

    Raises FleetFileError for text that is no YAML, holds no or several documents, nests too deeply or gives a
    key twice (YAML would silently take the last).
    """
    if len(text.encode()) > MAX_BYTES:
        raise _error(source, f"longer than {MAX_BYTES} bytes; is this a fleet.yaml?")
    try:
        _check_depth(text, source)
        loader = LOADER(text)
        try:
            root = loader.get_single_node()
            data = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except FleetFileError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        what = error.problem or error.context or "cannot be read"
        raise _error(source, f"not YAML: {what}", None if mark is None else mark.line + 1) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _error(source, f"not YAML: {' '.join(str(error).split())}") from error
    if root is None or data is None:
        raise _error(source, "is empty; a fleet needs at least: fleet, backends, pools and vips")
    repeated = list(_repeated_keys(root, (), set()))
    if repeated:
        raise FleetFileError(source, repeated)
    return YamlDocument(data, root)


def _error(source: str, what: str, line: int | None = None) -> FleetFileError:
    return FleetFileError(source, [FleetProblem((), what, line)])


def _check_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _error(source, f"nests more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(node: yaml.Node) -> int:
    mark = node.start_mark
    return 0 if mark is None else int(mark.line) + 1


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    """The node below `node`, and the line of its key (or of itself, in a list)."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item, _line(item)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, _line(key)
    return None


def _repeated_keys(node: yaml.Node, path: Path, seen: set[int]) -> Iterator[FleetProblem]:
    """Every key that its mapping gives more than once; anchored nodes are looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, index), seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[Any, int] = {}
        for key, value in node.value:
            line = _line(key)
            if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, line) != line:
                what = f"given twice, first in line {first[key.value]}; keep one"
                yield FleetProblem((*path, key.value), what, line)
            yield from _repeated_keys(value, (*path, str(key.value)), seen)
