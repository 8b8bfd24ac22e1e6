"""A process of ours that obeys lines of JSON: one line in, one line out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from lbnode.lab.errors import LabError
from lbnode.lab.shell import environment

END_WAIT_S = 5.0


class ObedientProcess:
    """A context manager: the process ends with it. Methods raise LabError when the process fails.

    `name` is what messages call it.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def command(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Send a command and return the answer."""
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
            raise LabError(f"{self._name}: it has ended: see its words above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(f"{self._name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process: it ends when its input does."""
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
