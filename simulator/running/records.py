"""The file of the finished runs: it only grows, a line for each, so that an interrupted experiment goes on."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.errors import FileError, brief
from simulator.running.tasks import Outcome, Plan, Task
from simulator.writing import check_writable

__all__ = ["Records"]

_NAME = "runs.jsonl"
_KEYS = {"experiment", "options", "code", "condition", "seed", "rows", "seconds"}


class Records:
    """The finished runs of one plan in a folder, which is made if need be.

    Parameters
    ----------
    folder : Path
        New, empty, or of the same experiment.
    plan : Plan
        Whose runs they are.

    Attributes
    ----------
    path : Path
        Of the file, with one JSON object in a line for each run.

    Raises
    ------
    FileError
        If the folder cannot be written to, or holds something else: other files, or runs of another experiment, of
        other options or of other code.

    Notes
    -----
    A last line without an end was being written when the power went: it is cut off, and its run is done again.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.path = folder / _NAME
        self._head = _plain({"experiment": plan.name, "options": dict(plan.options), "code": plan.code})
        self._outcomes: dict[str, Outcome] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mine = self.path.exists() or not any(folder.iterdir())
        except OSError as error:
            raise FileError(
                f"experiment: expected a folder that can be written to, got {folder} ({error}); choose another"
            ) from None
        if not mine:
            raise FileError(
                f"experiment: expected a new or empty folder, or one with {_NAME}, got {folder}, which holds something "
                "else; choose another"
            )
        check_writable(self.path)
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                os.truncate(self.path, end)
            lines = content[:end].decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"experiment: expected runs in {self.path}, got {error}; choose another folder") from None
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                fitting = record.keys() == _KEYS
            except (ValueError, AttributeError):
                fitting = False
            if not fitting:
                raise FileError(
                    f"experiment: expected a run in line {number} of {self.path}, got {brief(line[:60])}; the file is "
                    "damaged: delete this line, and its run is done again"
                )
            for what, expected in self._head.items():
                if record[what] != expected:
                    raise FileError(
                        f"experiment: expected runs with {what} {expected}, got {record[what]} in line {number} of "
                        f"{self.path}; choose another folder, or delete the file to run everything anew"
                    )
            outcome = Outcome(Task(record["condition"], record["seed"]), record["rows"], record["seconds"])
            self._outcomes.setdefault(_key(outcome.task), outcome)

    def get(self, task: Task) -> Outcome | None:
        """What came of a run, or None if it is not finished."""
        return self._outcomes.get(_key(task))

    def add(self, outcome: Outcome) -> None:
        """Keep a finished run: when this returns, it is on the disk."""
        task = outcome.task
        record = {**self._head, "condition": task.condition, "seed": task.seed}
        line = json.dumps({**record, "rows": outcome.rows, "seconds": outcome.seconds}) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileError(
                f"experiment: expected to write {self.path}, got {error}; free space, then go on with the same command"
            ) from None
        self._outcomes[_key(task)] = replace(outcome, rows=_plain(outcome.rows))  # the same as when it is read again


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))


def _key(task: Task) -> str:
    return json.dumps([task.condition, task.seed], sort_keys=True)
