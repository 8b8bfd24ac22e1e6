"""The flow engine seen from the drill: a process in a client's namespace that obeys commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from lbnode.lab.errors import LabError
from lbnode.lab.flows import Look, Window
from lbnode.lab.shell import environment, inside

END_WAIT_S = 5.0


class FlowProcess:
    """Use as a context manager: the flows end with it. Raises LabError when the engine fails."""

    def __init__(self, namespace: str) -> None:
        self._process = subprocess.Popen(
            inside(namespace, [sys.executable, "-m", "lbnode.lab.flows"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    def __enter__(self) -> FlowProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, source: str, ports: Sequence[int], target: tuple[str, int], rate: float) -> int:
        """Open one flow from each port; return how many there are."""
        command = {
            "source": source,
            "ports": list(ports),
            "target": target[0],
            "port": target[1],
            "rate": rate,
        }
        return int(self._command("open", **command)["flows"])

    def look(self, since: float = 0.0) -> Look:
        """Return how the flows are now; `since` is a time of this machine's monotonic clock."""
        return Look(**self._command("look", since=since))

    def close_window(self, limit_s: float) -> Window:
        """End the present window, in which stalls of up to `limit_s` were allowed, and begin the next."""
        return Window(**self._command("window", limit_s=limit_s))

    def close(self) -> None:
        """End the flows and the process."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self, verb: str, **arguments: object) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": verb, **arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LabError("flow engine: it has ended: see its words above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(answer["error"])
        return answer
