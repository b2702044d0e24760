"""The command line as a whole: help, exit status, errors, plugins, pipes, terminals."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from simulator import Catalog, PluginError
from simulator.cli import cli, main
from simulator.cli.common import print_json
from simulator.cli.leaving import Terminated, sigterm_raises

COMMANDS = set(cli.list_commands(click.Context(cli))) - {"help"}
HEAVY = ("numpy", "scipy", "networkx", "pluggy", "rich", "matplotlib", "safetensors", "sklearn")

MINE = '''
from dataclasses import dataclass
from simulator import Network, ReLU, hookimpl

@dataclass(frozen=True)
class Mine(ReLU):
    """A ReLU of my own."""

def mine(make, input_shape=(1, 6, 6), classes=10, rng=None, story="none"):
    """A net of my own."""
    if story == "large":
        raise MemoryError("the moon")
    if story == "odd":
        raise ValueError("no such story")
    network = Network.input(input_shape).add(make("conv", 2, kernel=3), name="conv", rng=rng)
    return network.add(make("relu"), name="relu").add(make("dense", classes), name="dense", rng=rng)

@hookimpl
def register_layers(register):
    register("relu", Mine)

@hookimpl
def register_architectures(register):
    register("mine", mine)
'''


@pytest.fixture
def mine(folder):
    """A plugin file with an architecture, and with a layer that the core has, too."""
    (folder / "mine.py").write_text(MINE)
    return "mine.py"


# ---------------------------------------------------------------------- help


def test_the_script_is_installed():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="simulator")
    assert script.load() is main


@pytest.mark.parametrize("name", [None, *cli.commands])
def test_help_names_every_option_and_says_what_it_does(name, run):
    command = cli if name is None else cli.commands[name]
    result = run(*([] if name is None else [name]), "--help")
    assert (result.status, result.err) == (0, "")
    assert " ".join(command.help.split()) in " ".join(result.out.split())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help"
            assert all(option in result.out for option in (*parameter.opts, *parameter.secondary_opts))
        else:
            assert (parameter.metavar or parameter.name.upper()) in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_help_lists_the_commands_with_a_whole_sentence(run):
    out = run("--help").out
    own = {"train", "evaluate", "predict", "describe", "equivalence", "draw", "plugins", "completion", "schema"}
    assert set(cli.commands) == {"help", *own}
    for name, command in cli.commands.items():
        if command.hidden:
            continue
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
        assert line.endswith("."), line
        assert not line.endswith("..."), line
        assert command.help.startswith(" ".join(line.split()[1:]))


def test_no_command_shows_the_help(run):
    result = run()
    assert (result.status, result.err) == (0, "")
    assert result.out == run("--help").out == run("help").out
    assert result.out.startswith("Usage: simulator [OPTIONS] [COMMAND]")


def test_help_of_a_command(run):
    assert run("help", "train").out == run("train", "--help").out
    assert run("help", "unit").out == run("unit", "--help").out
    assert "expected a command, got 'trian'; did you mean 'train'?" in run("help", "trian").complaint


def test_the_commands_are_grouped_and_none_is_left_out(run):
    out = run("--help").out
    titles = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[1:] == [
        "Train and use:",
        "See the matrix:",
        "Look into a network:",
        "Repeat and measure:",
        "Extend:",
        "For shells and programs:",
    ]
    listed = [line.split()[0] for line in out.split(titles[1])[1].splitlines() if line.startswith("  ")]
    assert sorted(name for name in listed if name in COMMANDS) == sorted(COMMANDS)


def test_python_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "simulator", "--version"], capture_output=True, text=True)
    assert done.stdout == f"simulator, version {importlib.metadata.version('cnn-matrix-simulator')}\n"


def test_version(run):
    assert run("--version").out == f"simulator, version {importlib.metadata.version('cnn-matrix-simulator')}\n"


def test_nothing_heavy_is_imported_for_help(tmp_path):
    program = f"""
import sys
import simulator
from simulator.cli import main
for args in (["--help"], ["--version"], *([name, "--help"] for name in {list(cli.commands)!r})):
    try:
        main(args)
    except SystemExit as end:
        assert end.code == 0, end.code
assert "train" in dir(simulator)
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "[]\n")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["describ"], "expected a command, got 'describ'; did you mean 'describe'?"),
        (["describe", "--inptu", "1x28x28"], "No such option '--inptu'. Did you mean '--input'?"),
        (["describe", "lenet"], "got 'lenet'; did you mean 'lenet5'"),
        (["describe", "transformer"], "got 'transformer'; choose one of: "),
        (["describe", "lenet5", "lenet5"], "unexpected extra argument (lenet5)"),
        (["describe", "--input", "1x0x28"], "expected positive sizes such as 1x28x28, got '1x0x28'"),
        (["describe", "--input", "1x-3x28"], "expected positive sizes such as 1x28x28, got '1x-3x28'"),
        (["describe", "--input", "1x28y28"], "expected positive sizes such as 1x28x28, got '1x28y28'"),
        (["describe", "--input", ""], "expected positive sizes such as 1x28x28, got ''"),
        (["describe", "--input", "1x99999x99999"], "at most 100,000,000 numbers, got 1x99999x99999"),
        (["describe", "--input", "1x8x8"], "lenet5: expected an input (channels, height, width) of at least 12 x 12"),
        (["describe", "--input", "28"], "lenet5: expected an input (channels, height, width) of at least 12 x 12"),
        (["describe", "--classes", "0"], "0 is not in the range x>=1"),
        (["describe", "--classes", "-1"], "-1 is not in the range x>=1"),
        (["describe", "--classes", "1" + "0" * 30], "simulator: expected work that fits into memory"),
        (["describe", "-o", "width"], "expected NAME=VALUE, got 'width'"),
        (["describe", "-o", "=2"], "expected NAME=VALUE, got '=2'"),
        (["describe", "-o", "widht=2"], "lenet5: expected one of its options, got 'widht'; did you mean 'width'?"),
        (["describe", "-o", "width=broad"], "-o width: expected a number, got 'broad'; write for example -o width=1.0"),
        (["describe", "-o", "width=1e999"], "lenet5 width: expected a positive factor, got inf"),
        (["describe", "-o", "width=0"], "lenet5 width: expected a positive factor, got 0"),
        (["describe", "resnet8", "-o", "width=0"], "resnet8 width: expected an integer of at least 1, got 0"),
        (
            ["describe", "-o", "classes=3"],
            "expected an option of lenet5 itself, got classes; use --classes",
        ),
        (
            ["describe", "nothing.safetensors"],
            "expected the file of a trained network, got 'nothing.safetensors', which does not exist; check the path",
        ),
        (["describe", "n" * 300], "simulator: expected to read and write, got "),
        (["train", "--engine", "scipi"], "one of the engines, got 'scipi'; did you mean 'scipy'?"),
        (["equivalence", "--dtype", "float16"], "'float16' is not one of 'float32', 'float64'"),
        (["equivalence", "--seed", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_bad_input_is_answered_in_one_line(args, message, run):
    result = run(*args)
    assert message in result.complaint
    assert result.out == ""


def test_damaged_files(run, files):
    assert "expected a safetensors file" in run("describe", files / "damaged.safetensors").complaint


def test_too_little_memory(run, mine):
    result = run("-p", mine, "--prefer", "layers.relu=core", "describe", "mine", "-o", "story=large")
    assert re.fullmatch(
        r"simulator: expected work that fits into memory, of which [\d.,]+ [MG]B are left, got MemoryError: the moon; "
        "use a smaller --input, a smaller network or fewer samples",
        result.complaint,
    )


def test_an_option_that_the_architecture_refuses(run, mine):
    result = run("describe", "mine", "-p", mine, "--prefer", "layers.relu=core", "-o", "story=odd")
    assert (
        "plugin mine, architecture mine: expected to build with story='odd', got ValueError: no such"
        in result.complaint
    )


def test_a_broken_architecture_is_not_blamed_on_the_user(mine, folder):
    Path(mine).write_text(MINE.replace('story="none"', 'story="odd"'))
    with pytest.raises(PluginError, match="expected to build with no options, got ValueError") as error:
        Catalog(mine, prefer={"layers.relu": "core"}).build("mine")
    assert isinstance(error.value.__cause__, ValueError)  # its author needs the traceback


def test_interrupted_anywhere(run, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.describe.describe", interrupt)
    result = run("describe")
    assert result.status == 130
    assert result.err.strip() == "Interrupted."


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("module", ["click", "simulator.cli.program", "numpy"])
def test_ctrl_c_while_it_starts(module, tmp_path):
    """The interrupt comes while a module is imported, before or after the command line is there."""
    code = f"""
import importlib.abc, signal, sys
class Impatient(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Impatient())
sys.argv = ["simulator", "describe"]
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="simulator")
script.load()()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert (told.returncode, told.stderr.strip(), told.stdout) == (130, "Interrupted.", "")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_while_nothing_is_trained(shell):
    Path("slow.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    process = shell("-p", "slow.py", "describe")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (143, "Terminated.")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_acts_as_before_afterwards_and_in_child_processes():
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_raises():
        assert signal.getsignal(signal.SIGTERM) is not before
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_belong_to_the_main_thread():
    seen = []

    def work():
        with sigterm_raises():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize(
    "args",
    [
        ["unit", "lenet5", "conv1[" + "9" * 5000 + "]"],
        ["unit", "lenet5", "conv1[" + "0, " * 5000 + "0]"],
        ["weight", "lenet5", "conv1.weight[" + "9" * 5000 + ", 0, 0, 0]"],
        ["describe", "--input", "1x" + "9" * 5000],
        ["describe", "--input", "1x" + "9" * 4000],
        ["describe", "--classes", "9" * 5000],
        ["describe", "-o", "width=" + "9" * 5000],
        ["describe", "-o", "width=" + "(" * 5000],
        ["train", "--lr", "x" * 5000],
        ["describe", "n" * 5000],
        ["d" * 5000],
    ],
)
def test_what_is_much_too_long_is_answered_in_one_short_line(args, run):
    result = run(*args)
    assert result.status == 2
    assert len(result.complaint) < 400


# ---------------------------------------------------------------------- plugins


def test_a_plugin_before_and_after_the_command(run, mine):
    wish = ("--prefer", "layers.relu=core")
    before, after, mixed = (
        run("-p", mine, *wish, "describe", "mine", "--json"),
        run("describe", "mine", "--json", "-p", mine, *wish),
        run(*wish, "describe", "mine", "-p", mine, "--json"),
    )
    assert before.status == after.status == mixed.status == 0
    assert before.out == after.out == mixed.out
    assert json.loads(before.out)["totals"]["params"] == 2 * 9 + 2 + 10 * 2 * 16 + 10


def test_what_is_built_in_stays_and_the_cure_chooses_the_other(run, mine):
    listed, described = run("-p", mine, "plugins"), run("-p", mine, "describe", "mine", "--json")
    assert (listed.status, described.status) == (0, 0)
    assert json.loads(described.out)["layers"][1]["layer"] == "ReLU()"
    for result in (listed, described):
        assert result.err.count("layers.relu, got one that is built in, which stays") == 1  # said once
        assert "choose the plugin's with --prefer layers.relu=mine" in result.err
    for plugin, layer in (("mine", "Mine()"), ("core", "ReLU()")):
        result = run("-p", mine, "--prefer", f"layers.relu={plugin}", "describe", "mine", "--json")
        assert json.loads(result.out)["layers"][1]["layer"] == layer


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("layers.relu", "--prefer: expected KIND.NAME=PLUGIN, got 'layers.relu'; for example layers.conv=my_plugin"),
        ("layers.conv=nobody", "something that plugin 'nobody' offers, got 'layers.conv'"),
        ("relu=core", "something that plugin 'core' offers, got 'relu'"),
    ],
)
def test_wishes_that_cannot_be_met(wish, message, run):
    assert message in run("plugins", "--prefer", wish).complaint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "plugin broken.py: expected a Python file, got no such file; check the path"),
        ("import no_such_module", "expected a module that can be imported, got ModuleNotFoundError"),
        ("def :\n  pass\n", "expected a module that can be imported, got SyntaxError"),
        ("raise RuntimeError('one\\ntwo')", "expected a module that can be imported, got RuntimeError: one two; "),
        (
            "from simulator import hookimpl\n@hookimpl\ndef register_layer(register): pass\n",
            "expected only known hooks, got 'register_layer'; did you mean 'register_layers'",
        ),
        (
            "from simulator import hookimpl\n@hookimpl\ndef register_layers(register): 1 / 0\n",
            "plugin broken (broken.py), register_layers: expected it to register what it offers, got ZeroDivisionError",
        ),
    ],
)
def test_a_broken_plugin_is_reported(source, message, run, folder):
    if source is not None:
        (folder / "broken.py").write_text(source)
    assert message in run("-p", "broken.py", "describe").complaint


def test_a_plugin_given_twice(run, mine):
    assert (
        "expected a new name and module, got one that is loaded already"
        in run("-p", mine, "plugins", "-p", mine).complaint
    )


def test_an_installed_plugin_that_cannot_be_imported_is_a_warning(run, monkeypatch):
    shaky = importlib.metadata.EntryPoint("shaky", "no_such_module", "simulator")
    points = [shaky, *importlib.metadata.entry_points(group="simulator")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    result = run("plugins", "--json")
    (problem,) = json.loads(result.out)["problems"]
    assert result.status == 0
    assert result.err == f"Warning: {problem}\n"
    assert problem.startswith("plugin shaky (no_such_module): expected a module that can be imported")


# ---------------------------------------------------------------------- where the output goes


@pytest.mark.parametrize("args", [["plugins"], ["describe", "--json"], ["--help"]], ids=" ".join)
def test_nobody_reads_the_output(args, shell):
    read, write = os.pipe()
    process = shell(*args, stdout=write)
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(("end", "out"), [("| head -1", "layers\n"), (">&-", "")], ids=["head", "closed"])
def test_in_a_shell(end, out):
    command = shlex.join([sys.executable, "-c", "from simulator.cli import main; main()", "plugins"])
    done = subprocess.run(f"{command} {end}", shell=True, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(shell):
    with open("/dev/full", "w") as full:
        process = shell("describe", "--json", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("Error: simulator: expected to read and write, got ")
    assert len(err.splitlines()) == 1


def test_a_terminal_without_greek_letters(shell):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    process = shell("plugins", env=environment, text=False)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert "Stochastic gradient descent: ? ? ? ? lr·(??".encode("cp1252") in out


def test_tables_are_never_cut_where_the_output_is_no_terminal(run, monkeypatch):
    wide = run("describe").out
    assert "240,000" in wide
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run("describe").out  # what is too wide goes on below
    assert set(wide.replace("─", "").split()) == set(narrow.replace("─", "").split())
    assert max(map(len, narrow.splitlines()[1:])) <= 60 < max(map(len, wide.splitlines()))
    assert not any(line != line.rstrip() for line in (wide + narrow).splitlines())


def test_on_a_terminal_words_wrap_and_numbers_do_not(run, monkeypatch):
    expected = set(run("describe").out.replace("─", "").split())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    out = run("plugins").out
    assert max(map(len, out.splitlines())) <= 80
    assert "bundled" in out
    assert set(re.sub(r"\x1b\[[\d;]*m|─", "", run("describe").out).split()) == expected


def test_json_knows_no_nan(capsys):
    print_json({"loss": float("nan"), "more": [float("inf"), (1.5, None)]})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "more": [None, [1.5, None]]}


def test_ctrl_c_while_nothing_is_trained(shell):
    Path("slow.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    process = shell("-p", "slow.py", "describe")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "Interrupted."
