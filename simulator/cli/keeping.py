"""Where a command keeps a network: a place that may be taken, and the epochs of a training, whatever the disk says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simulator.cli.common import options

if TYPE_CHECKING:
    from simulator.training import Epoch

__all__ = ["Keeper", "check_place", "save_options"]


def save_options(what: str) -> Callable[..., Callable[..., object]]:
    """``--save`` and ``--overwrite``."""
    return options(
        click.option("--save", "save_path", metavar="FILE", type=click.Path(path_type=Path), help=what),
        click.option("--overwrite", is_flag=True, help="Let --save replace a file that exists."),
    )


def check_place(path: Path, overwrite: bool, own: Path | None = None, resume: str = "") -> None:
    """Refuse a place that cannot be written to, or where another file is than `own` and nobody said --overwrite.

    `resume` ends the message: what else one may do with such a file.
    """
    from simulator.errors import FileError
    from simulator.writing import check_writable

    check_writable(path)
    if overwrite or not path.exists() or (own is not None and path.samefile(own)):
        return
    raise FileError(
        f"save: expected the name of a new file, got {path}, which exists; choose another, or replace it with "
        f"--overwrite{resume}"
    )


@dataclass
class Keeper:
    """Keeps the last epoch of a training in a file.

    Parameters
    ----------
    path : Path, optional
        Where; None keeps nothing.
    write : callable
        Called with a path and an epoch.
    """

    path: Path | None
    write: Callable[[Path, Epoch], None]
    problem: str | None = None  # why the last epoch is not in the file

    def keep(self, epoch: Epoch) -> None:
        """Write an epoch; where that fails, say so once, and let the training go on."""
        from simulator.errors import FileError

        if self.path is None:
            return
        before, self.problem = self.problem, None
        try:
            self.write(self.path, epoch)
        except FileError as error:
            self.problem = str(error)
            if before is None:
                click.echo(
                    f"Warning: epoch {epoch.number} is not saved: {error}. Training goes on, and tries again after "
                    "every epoch",
                    err=True,
                )

    def finish(self, epoch: Epoch) -> Path | None:
        """Where the last epoch is: a last try, and then the system's folder for temporary files.

        Raises
        ------
        FileError
            If it cannot be written there, either.
        """
        from simulator.errors import FileError

        if self.problem is not None:
            self.keep(epoch)
        if self.problem is None or self.path is None:
            return self.path
        try:
            refuge = Path(tempfile.mkdtemp(prefix="simulator-")) / self.path.name
            self.write(refuge, epoch)
        except (FileError, OSError):
            raise FileError(f"{self.problem} (nor can the folder for temporary files be written to)") from None
        return refuge
