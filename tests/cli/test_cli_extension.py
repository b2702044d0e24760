"""Commands from plugins: they work like the core's own, a broken one says what is wrong, and help stays quick."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

HELLO = '''
import click

@click.command()
@click.option("--name", default="you", help="Whom to greet.")
def command(name):
    """Greet somebody.

    As often as you like.
    """
    click.echo(f"Hello {name}")
'''

BROKEN = {  # the text of a module, and what is said of it
    "import no_such_module": "to be importable, got ModuleNotFoundError: No module named 'no_such_module'; fix it, or",
    "def :": "to be importable, got SyntaxError: ",
    "raise SystemExit(3)": "to be importable, got SystemExit: 3; fix it, or install what it needs",
    "comand = 3": "to be importable, got AttributeError: ",
    "command = 3": "to be a click command, got 3; decorate it with @click.command()",
    "def command(): pass": "to be a click command, got the function command",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Announce commands: install(hello="text of the module") as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    known = importlib.metadata.entry_points

    def install(**texts):
        points = []
        for name, text in texts.items():
            module = f"{name}_{tmp_path.name}"  # another one in each test
            (tmp_path / f"{module}.py").write_text(text)
            points.append(importlib.metadata.EntryPoint(name, f"{module}:command", "simulator.commands"))
        monkeypatch.setattr(
            "importlib.metadata.entry_points",
            lambda group: [*known(group=group), *(points if group == "simulator.commands" else [])],
        )
        return points

    return install


def first_words(out):
    """The names of the commands in the help, in their order."""
    listed = out.partition("Train and use:\n")[2]
    return [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]


def test_a_command_of_a_plugin_works_like_the_cores_own(run, install):
    install(hello=HELLO)
    assert run("hello", "--name", "LeNet").out == "Hello LeNet\n"
    assert "As often as you like." in run("hello", "--help").out
    assert "No such option '--nmae'. Did you mean '--name'?" in run("hello", "--nmae", "x").complaint


def test_the_help_lists_the_commands_of_strangers_last(run, install):
    install(aardvark=HELLO, zebra=HELLO)
    shown = run("--help").out
    assert first_words(shown)[-3:] == ["aardvark", "zebra", "Start"]  # the last line says with what
    assert shown.index("Extend:") < shown.index("Other commands:") < shown.index("aardvark")


@pytest.mark.parametrize(("text", "message"), list(BROKEN.items()))
def test_a_broken_command_says_what_is_wrong_and_the_others_work(text, message, run, install):
    (point, _) = install(bad=text, good=HELLO)
    complaint = run("bad", "--any", "option", "and argument").complaint
    assert complaint.startswith(f"simulator bad: expected {point.value} {message}")
    assert run("good").out == "Hello you\n"
    shown = run("--help")
    assert shown.status == 0
    assert {"bad", "good", "train"} <= set(first_words(shown.out))
    assert "(broken) expected" in shown.out


def test_two_commands_of_one_name_are_refused_and_named(run, install, monkeypatch):
    points = install(one=HELLO, two=HELLO)
    twins = [importlib.metadata.EntryPoint("twin", point.value, point.group) for point in points]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: twins)
    assert run("twin").complaint == (
        f"simulator twin: expected one plugin to offer this command, got {points[0].value} and {points[1].value}; "
        "uninstall one of them"
    )
    assert first_words(run("--help").out).count("twin") == 1


def test_the_cores_own_command_cannot_be_replaced(run, install):
    install(plugins=HELLO)
    assert "Greet" not in run("plugins", "--help").out
    assert first_words(run("--help").out).count("plugins") == 1
    assert (
        "expected another name than those of the simulator's own commands"
        in run("check-plugin", "plugins", "--in-process").out
    )


def test_help_imports_nothing_heavy():
    program = """
import sys
from simulator.cli import main
for args in (["--help"], ["check-plugin", "--help"], ["new-plugin", "--help"]):
    try:
        main(args)
    except SystemExit as end:
        assert end.code == 0
print([name for name in ("numpy", "scipy", "networkx", "pluggy", "rich") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_what_plugins_print_does_not_spoil_json(tmp_path):
    """At import, in a hook, and while a layer runs; in a process of its own, as a user starts it."""
    (tmp_path / "loud.py").write_text(
        "from dataclasses import dataclass\n"
        "from simulator import Elementwise, hookimpl\n"
        "print('at import')\n"
        "@dataclass(frozen=True)\n"
        "class Loud(Elementwise):\n"
        "    '''Loud.'''\n"
        "    def value_and_slope(self, x):\n"
        "        print('at work')\n"
        "        return x * 1, x * 0 + 1\n"
        "@hookimpl\n"
        "def register_layers(register):\n"
        "    print('in a hook')\n"
        "    register('relu', Loud)\n"
    )
    code = "from simulator.cli import main; main()"
    wish = ["--prefer", "layers.relu=loud", "--no-proof", "--engine", "scipy", "--epochs", "1", "--json"]
    command = [sys.executable, "-c", code, "train", "mlp", "-p", "loud.py", *wish]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["epochs"] == 1
    for told in ("at import", "in a hook", "at work"):
        assert told in result.stderr
