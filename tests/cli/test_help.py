"""The help of every command: a summary in one line, examples that run, 80 columns."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from simulator.cli import cli

CONTEXT = click.Context(cli)
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}
README = (Path(__file__).parents[2] / "README.md").read_text()
SLOW = (
    "simulator train",
    "simulator experiment counts",
    "simulator bench lenet5",
    "simulator bench mlp",
    "simulator affine .*",
)


def examples():
    """The examples in the help of all commands."""
    for command in COMMANDS.values():
        for line in (command.epilog or "").splitlines():
            if line.startswith("  simulator "):
                slow = [pytest.mark.slow] if re.match(rf"({'|'.join(SLOW)})( --|$)", line.strip()) else []
                yield pytest.param(line.strip(), id=line.strip(), marks=slow)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_line_is_wider_than_the_terminal(name, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*name.split(), "--help").out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert not any(line.endswith("...") and line.startswith("  ") for line in lines)  # no summary is cut


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_of_a_command(name, run):
    shown = run(name, "--help").out
    summary, _, _ = COMMANDS[name].help.partition("\n\n")
    assert "\n" not in summary.strip()
    assert summary.endswith(".")
    assert f"  Examples:\n    simulator {name}" in shown
    assert run("help", name).out == shown
    for parameter in COMMANDS[name].params:
        assert parameter.hidden if isinstance(parameter, click.Option) and not parameter.help else True


@pytest.mark.parametrize("line", list(examples()))
def test_examples_in_the_help_run(line, run, trained, folder):
    if " --save " not in line:
        shutil.copy(trained, folder / "net.safetensors")
    (folder / "swish.py").write_text(
        next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Swish" in b)
    )
    result = run(*shlex.split(line)[1:])
    assert result.status == 0, result
    assert result.out
    written = re.search(r"--(?:output|save) (\S+)", line)
    assert written is None or (folder / written[1]).stat().st_size > 100


def test_help_of_what_is_no_command(run):
    assert "did you mean 'train'?" in run("help", "trian").complaint
    assert run("help").out == run("--help").out
