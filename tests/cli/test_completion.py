"""Completion in real shells: commands, options and the names that a network, the data and the plugins have."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from simulator.cli import cli

BASH = shutil.which("bash")
SMALL = "lenet5 --input 1x12x12 -o width=0.3"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A folder in the PATH with the program, as it is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "simulator"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from simulator.cli import main; main()" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("BASH_ENV", raising=False)
    return folder


def offered(line):
    """What is offered for the last word of a command line, by click's own reading of it."""
    *words, incomplete = line.split(" ")
    found = ShellComplete(cli, {}, "simulator", "_SIMULATOR_COMPLETE").get_completions(words[1:], incomplete)
    return [item.value for item in found if item.type == "plain"], [item.type for item in found]


OFFERED = [  # a line, and some of the words that are offered for its last one
    ("simulator tra", ["train"]),
    ("simulator bench --per", ["--per-layer"]),
    ("simulator unit lenet5 conv1[0,1,1] --out", ["--outgoing", "--output"]),
    ("simulator describe lenet", ["lenet5", "lenet5-1998", "lenet-caffe"]),
    ("simulator bench lenet5 resnet", ["resnet8", "resnet18"]),
    ("simulator draw lenet5 conv", ["conv1", "conv2"]),
    ("simulator draw lenet5 --what ", ["matrix", "window"]),
    ("simulator draw --input 1x12x12 lenet5 --unit conv1", ["conv1[0,6,6]"]),
    (f"simulator unit {SMALL} conv2[", ["conv2[0,1,1]", "conv2[4,1,1]"]),
    ("simulator unit lenet5 ", ["input[0,14,14]", "conv2[0,5,5]", "dense3[0]"]),
    ("simulator weight lenet5 conv1", ["conv1.weight[0,0,2,2]", "conv1.bias[0]"]),
    ("simulator weight lenet5 conv1.bias[", ["conv1.bias[0]", "conv1.bias[5]"]),
    ("simulator effect lenet5 --ablate conv2", ["conv2[0,5,5]"]),
    ("simulator effect lenet5 --clamp conv2", ["conv2[0,5,5]=0"]),
    ("simulator train --data di", ["digits"]),
    ("simulator train --optimizer ad", ["adam", "adamw", "adagrad"]),
    ("simulator train --loss hub", ["huber"]),
    ("simulator train vgg11 -o adap", ["adaptive=False"]),
    ("simulator train --json --engine ", ["scipy"]),
    ("simulator plugins lo", ["losses"]),
    ("simulator experiment co", ["counts"]),
    ("simulator completion ", ["bash", "zsh", "fish"]),
    ("simulator unit conv(1,kernel=3) --input 1x8 ", []),
]


@pytest.mark.parametrize(("line", "words"), OFFERED)
def test_what_is_offered(line, words, capfd):
    found, _ = offered(line)
    assert set(words) <= set(found)
    incomplete = line.split(" ")[-1]
    assert all(word.startswith(incomplete) for word in found)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "line", ["simulator unit nothing ", "simulator foo ", "simulator unit lenet5 x[3, 4", "simulator -p x "]
)
def test_what_is_wrong_offers_nothing_and_says_nothing(line, capfd):
    assert isinstance(offered(line)[0], list)
    assert capfd.readouterr() == ("", "")


def test_old_names_are_understood_and_not_offered():
    assert offered("simulator ablate lenet5 conv1 --row")[0] == []
    assert offered("simulator ablate --rows 3 lenet5 conv")[0] == ["conv1", "conv2"]


@pytest.mark.parametrize(
    "line", ["simulator evaluate n", "simulator describe ", "simulator train --save x", "simulator train --data ./"]
)
def test_files_are_offered(line):
    assert offered(line)[1][0] == "file"


def test_every_argument_and_name_is_completed():
    """No value is left to be guessed but new names, numbers and shapes."""
    context = click.Context(cli)
    plain = set()
    for name in cli.list_commands(context):
        for parameter in cli.get_command(context, name).params:
            kind = parameter.type
            if parameter._custom_shell_complete is None and isinstance(kind, click.types.StringParamType):
                plain.add((name, parameter.name))
    assert {(name, what) for name, what in plain if what != "prefer"} == {
        ("new-plugin", "name"),
        ("experiment", "cluster"),
    }


def typed(shell, setup, keys):
    """What a shell on a terminal makes of keys: the line that it would run, as it splits it into words."""
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "HISTFILE": "/dev/null", "BASH_SILENCE_DEPRECATION_WARNING": "1"}
    with subprocess.Popen(shell, stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True) as p:
        os.close(there)

        def until(mark, quiet=30.0):
            seen = ""
            while mark not in seen and select.select([here], [], [], quiet)[0]:
                try:
                    seen += os.read(here, 65536).decode(errors="replace")
                except OSError:  # Linux's end of the file
                    break
            return seen

        os.write(here, f"{setup}; echo rea''dy\n".encode())
        assert "ready" in until("ready")
        os.write(here, keys.encode())
        until("no such mark", quiet=4)  # the shell asks the program, which takes a while
        os.write(here, b"\x01printf '<%s>' fou''nd \x05; exit\n")
        seen = until("no such mark", quiet=3)
        p.kill()
        os.close(here)
    return re.findall("<([^>]*)>", seen[seen.index("<found>") :])[1:]


TERMINALS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(simulator completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(simulator completion zsh)"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", list(TERMINALS))
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("simulator tra\t", ["simulator", "train"]),
        ("simulator draw lenet5-1\tc5\t", ["simulator", "draw", "lenet5-1998", "c5"]),
        (
            "simulator effect lenet5-1998 --ablate f6-\t",
            ["simulator", "effect", "lenet5-1998", "--ablate", "f6-tanh[0]"],
        ),
    ],
)
def test_tabs_on_a_terminal(shell, keys, words, program):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert typed(*TERMINALS[shell], keys) == words


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("simulator tra", ["train"]),
        ("simulator draw lenet5 conv", ["conv1", "conv2"]),
        ("simulator unit lenet5 conv1[", [f"conv1[{channel},14,14]" for channel in range(6)]),
        ("simulator train --optimizer mom", ["momentum"]),
        ("simulator describe lenet5-", ["lenet5-1998"]),
    ],
)
def test_bash(line, words, program, tmp_path):
    """The script's function is called as bash calls it on a tab."""
    script = subprocess.run(["simulator", "completion", "bash"], capture_output=True, text=True, check=True).stdout
    call = (
        f"{script}\nCOMP_WORDS=({' '.join(repr(word) for word in line.split())})\nCOMP_CWORD={len(line.split()) - 1}\n"
        '_simulator_completion simulator\nprintf "%s\\n" "${COMPREPLY[@]}"\ncomplete -p simulator\n'
    )
    done = subprocess.run([BASH, "--norc", "-c", call], capture_output=True, text=True, timeout=60)
    *found, registered = done.stdout.splitlines()
    assert found == words
    assert registered == "complete -o nosort -F _simulator_completion simulator"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(program, tmp_path):
    script = subprocess.run(["simulator", "completion", "fish"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "simulator.fish").write_text(script)
    ask = f"source {tmp_path}/simulator.fish; complete -C 'simulator draw lenet5 conv'; complete -C 'simulator tra'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True, timeout=60)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["conv1", "conv2", "train"]
    assert "Train a network" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_what_the_shell_reads(shell, run):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = run("completion", shell).out
    assert "_SIMULATOR_COMPLETE" in script
    done = subprocess.run([shell, "-n"], input=script, text=True)
    assert done.returncode == 0


def test_the_shell_is_that_of_the_account(run, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert run("completion").out == run("completion", "zsh").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert "expected one of the shells bash, zsh, fish, got none of them; name one" in run("completion").complaint
    assert "is not one of 'bash', 'zsh', 'fish'" in run("completion", "tcsh").complaint


def test_the_readme_says_how():
    assert 'eval "$(simulator completion bash)"' in (Path(__file__).parents[2] / "README.md").read_text()
