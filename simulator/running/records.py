"""The file of the finished runs: it only grows, a line for each, so that an interrupted experiment goes on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.errors import FileError, brief
from simulator.running.tasks import Outcome, Plan, Task
from simulator.writing import check_writable, write_atomically

__all__ = ["Records"]

_NAME = "runs.jsonl"
_ASIDE = "runs.damaged"  # where lines that nobody can read are kept
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
    damaged : tuple of int
        Numbers of the lines that were not as they had been written. They are in ``runs.damaged`` now, and their runs
        count as not done.

    Raises
    ------
    FileError
        If the folder cannot be written to, or holds something else: other files, or runs of another experiment, of
        other options or of other code.

    Notes
    -----
    A last line without an end was being written when the power went: it is cut off, and its run is done again. Each
    line holds a checksum of itself, so that a damaged number is no result.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.path = folder / _NAME
        self._head = _plain({"experiment": plan.name, "options": dict(plan.options), "code": plan.code})
        self._outcomes: dict[str, Outcome] = {}
        self.damaged: tuple[int, ...] = ()
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
        except OSError as error:
            raise FileError(
                f"experiment: expected runs in {self.path}, got {brief(error)}; choose another folder"
            ) from None
        lines = content[:end].splitlines(keepends=True)
        records = {number: _record(line) for number, line in enumerate(lines, 1) if line.strip()}
        self.damaged = tuple(number for number, record in records.items() if record is None)
        if records and len(self.damaged) == len(records):
            raise FileError(
                f"experiment: expected runs in {self.path}, got no line that can be read; choose another folder, or "
                "empty this one to run everything anew"
            )
        for number, record in records.items():
            if record is None:
                continue
            for what, expected in self._head.items():
                if record[what] != expected:
                    raise FileError(
                        f"experiment: expected runs with {what} {brief(expected, 400)}, got "
                        f"{brief(record[what], 400)} in line {number} of {self.path}; choose another folder, or empty "
                        "this one to run everything anew"
                    )
            outcome = Outcome(Task(record["condition"], record["seed"]), record["rows"], record["seconds"])
            self._outcomes.setdefault(_key(outcome.task), outcome)
        if self.damaged:
            aside = self.path.with_name(_ASIDE)
            older = aside.read_bytes() if aside.is_file() else b""
            bad = b"".join(lines[number - 1] for number in self.damaged)
            good = b"".join(lines[number - 1] for number, record in records.items() if record is not None)
            write_atomically(aside, lambda path: path.write_bytes(older + bad))
            write_atomically(self.path, lambda path: path.write_bytes(good))

    def get(self, task: Task) -> Outcome | None:
        """What came of a run, or None if it is not finished."""
        return self._outcomes.get(_key(task))

    def add(self, outcome: Outcome) -> None:
        """Keep a finished run: when this returns, it is on the disk."""
        task = outcome.task
        record = {**self._head, "condition": task.condition, "seed": task.seed}
        record |= {"rows": outcome.rows, "seconds": outcome.seconds}
        line = json.dumps({**record, "check": _check(record)}) + "\n"
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


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None if it is damaged. Lines of version 0.1.0 have no checksum."""
    try:
        record = json.loads(line)
        check = record.pop("check", None)
        if record.keys() != _KEYS or (check is not None and check != _check(record)):
            return None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    rows, number = record["rows"], record["seconds"]
    fitting = (
        isinstance(record["condition"], dict)
        and type(record["seed"]) is int
        and isinstance(rows, list)
        and all(isinstance(row, dict) for row in rows)
        and type(number) in (int, float)
    )
    return record if fitting and rows else None


def _check(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))


def _key(task: Task) -> str:
    return json.dumps([task.condition, task.seed], sort_keys=True)
