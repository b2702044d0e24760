"""A new plugin of every kind works as it is written: its test passes, and so does check-plugin."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from simulator import Catalog
from simulator.cli import main
from simulator.cli.steps import python as python_called

KINDS = {
    "layer": "layers",
    "loss": "losses",
    "optimizer": "optimizers",
    "architecture": "architectures",
    "dataset": "datasets",
    "engine": "engines",
    "experiment": "experiments",
    "command": "commands",
}

USE = {  # what its README says to do with it
    "layer": "python train_q_layer.py",
    "loss": "simulator train autoencoder --loss q-loss",
    "optimizer": "simulator train mlp --optimizer q-optimizer",
    "architecture": "simulator train q-architecture",
    "dataset": "simulator train mlp --data q-dataset",
    "engine": "simulator train mlp --engine q-engine",
    "experiment": "simulator experiment q-experiment --quick",
    "command": "simulator q-command",
}

# Runs in one process what the README of each project says, and prints the exit status of both programs.
TRIAL = """
import pathlib, re, runpy, sys, pytest
from simulator.cli import main
def simulator(*args):
    try:
        main(list(args))
    except SystemExit as end:
        print(args[0] + ":", end.code)
for name in sys.argv[1:]:
    print("===", name)
    use = re.findall("^```sh\\n(.*)\\n```$", pathlib.Path(name, "README.md").read_text(), re.M)[-1]
    print("use:", use)
    program, *args = use.split()
    if program == "python":
        runpy.run_path(str(pathlib.Path(name, *args)), run_name="__main__")
    else:
        simulator(*args, *["--epochs", "1"] * (args[0] == "train"))
    options = "-q -p no:cacheprovider --doctest-modules -W error --rootdir".split()
    print("pytest:", int(pytest.main([*options, name, name])))
    simulator("check-plugin", f"q-{name}", "--in-process")
"""


@pytest.fixture
def run(capsys):
    """Run ``simulator new-plugin``: exit status, output, complaint."""

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main(["new-plugin", *map(str, args)])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def announce(project):
    """What pip would leave: the metadata with the entry points, beside the module."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = project / f"{settings['name'].replace('-', '_')}-{settings['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {settings['name']}\nVersion: {settings['version']}\n")
    ((group, points),) = settings["entry-points"].items()
    ((name, value),) = points.items()
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


def python(*args, path, cwd=None):
    """Run Python with more folders to import from."""
    joined = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": joined, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """What pytest and check-plugin say about a new plugin of each kind, by kind."""
    folder = tmp_path_factory.mktemp("projects")
    (folder / "setup.cfg").write_text("[tool:pytest]\naddopts = --of-another-project\n")  # as in a checkout around it
    for kind in KINDS:
        with pytest.raises(SystemExit) as end:
            main(["new-plugin", f"q-{kind}", "--kind", kind, "--folder", str(folder)])
        assert end.value.code == 0
        (folder / f"q-{kind}").rename(folder / kind)
        announce(folder / kind)
    done = python("-c", TRIAL, *KINDS, path=[folder / kind for kind in KINDS], cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(part.split("\n", 1) for part in done.stdout.split("=== ")[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_keeps_its_promises(kind, trial):
    told = trial[kind]
    assert "pytest: 0\n" in told, told
    assert int(re.search(r"(\d+) passed", told)[1]) > 1
    assert "check-plugin: 0\n" in told, told
    assert f"{KINDS[kind]} q-{kind}: pass (" in told
    show = f"simulator q-{kind} --help" if kind == "command" else "simulator plugins"
    assert told.splitlines()[-3].startswith("All checks pass.")
    assert told.splitlines()[-2].endswith(f": {show}")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_new_plugin_is_for_is_said_and_works(kind, trial):
    told = trial[kind]
    assert f"use: {USE[kind]}\n" in told
    if kind == "layer":
        assert float(re.search(r"never saw: ([\d.]+)%", told)[1]) > 80
    else:
        assert f"{USE[kind].split()[1]}: 0\n" in told


def test_it_says_what_it_wrote_and_what_to_do(run, tmp_path):
    status, out, err = run("my-gains", "--kind", "layer", "--folder", tmp_path)
    assert (status, err) == (0, "")
    project, called = tmp_path / "my-gains", python_called()
    assert [line.strip() for line in out.splitlines()] == [
        f"Wrote my_gains.py, test_my_gains.py, pyproject.toml, README.md, train_my_gains.py to {project}.",
        f"Next: {called} -m pip install -e {project} pytest",
        f"Next: {called} -m pytest {project}",
        "Next: simulator check-plugin my-gains",
        f"Next, to train with it: {called} {project}/train_my_gains.py",
    ]
    files = {file.name: file.read_text() for file in project.iterdir()}
    assert sorted(files) == ["README.md", "my_gains.py", "pyproject.toml", "test_my_gains.py", "train_my_gains.py"]
    assert not any("$" in text for text in files.values())
    steps = "python -m pip install -e . pytest\npython -m pytest .\nsimulator check-plugin my-gains\n"
    assert steps in files["README.md"]
    assert not re.search("publish|upload|PyPI", "".join(files.values()))
    assert tomllib.loads(files["pyproject.toml"])["project"]["entry-points"] == {"simulator": {"my-gains": "my_gains"}}
    assert Catalog(project / "my_gains.py").make("my-gains").output_shape((2, 3)) == (2, 3)


def test_the_projects_are_in_good_style(run, tmp_path):
    pytest.importorskip("ruff")
    for kind in KINDS:
        for name in ("q", "abcdefghij-abcdefghij-abcdefgh"):  # the shortest and the longest name
            assert run(name, "--kind", kind, "--folder", tmp_path / kind)[0] == 0
    for action in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *action, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("layer", "Swish", "of up to 30 letters, small words with hyphens, got 'Swish'; for example my-layer"),
        ("layer", "my_swish", "small words with hyphens, got 'my_swish'"),
        ("layer", "my--swish", "small words with hyphens, got 'my--swish'"),
        ("layer", "3d", "small words with hyphens, got '3d'"),
        ("layer", "swish-2", "small words with hyphens, got 'swish-2'"),
        ("layer", "../swish", "small words with hyphens, got '../swish'"),
        ("layer", "s" * 31, "of up to 30 letters"),
        ("layer", "lambda", "that means nothing to Python, got 'lambda'; for example my-lambda"),
        ("layer", "json", "that means nothing to Python, got 'json'"),
        ("layer", "setup", "that means nothing to Python, got 'setup'"),
        ("layer", "numpy", "of no installed module, got 'numpy'; for example my-numpy"),
        ("layer", "max-pool", "that no other layer has, got 'max-pool'; for example my-max-pool"),
        ("loss", "cross-entropy", "that no other loss has, got 'cross-entropy'"),
        ("dataset", "xo", "that no other dataset has, got 'xo'"),
        ("command", "train", "that no other command has, got 'train'"),
        ("command", "check-plugin", "that no other command has, got 'check-plugin'"),
        ("layer", "momentum", "that no other plugin has, got 'momentum'; for example my-momentum"),
        ("architecture", "core", "that no other plugin has, got 'core'"),
        ("layer", "none", "that means nothing to Python, got 'none'; for example my-none"),
        ("loss", "true", "that means nothing to Python, got 'true'"),
        ("layer", "matrix-layer", "that the example does not use itself, got 'matrix-layer'"),
        ("dataset", "shape", "that the example does not use itself, got 'shape'"),
    ],
)
def test_a_bad_name_is_refused(kind, name, message, run, tmp_path):
    status, out, err = run(name, "--kind", kind, "--folder", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("Error: new-plugin: expected a name ")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_is_left_alone(run, tmp_path):
    (tmp_path / "gains").mkdir()
    assert run("gains", "--kind", "layer", "--folder", tmp_path)[0] == 0  # an empty one is fine
    mine = tmp_path / "gains" / "gains.py"
    mine.write_text("mine")
    status, out, err = run("gains", "--kind", "layer", "--folder", tmp_path)
    assert (status, out) == (2, "")
    assert f"new-plugin: expected a new or empty folder, got {tmp_path / 'gains'}; choose another name" in err
    assert mine.read_text() == "mine"


def test_a_place_that_cannot_be_written_to(run, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = run("gains", "--kind", "layer", "--folder", tmp_path / "file")
    assert status == 2
    assert "new-plugin: expected a place to write to, got " in err
    assert err.endswith("choose another --folder\n")


def test_nothing_is_left_half_written(run, tmp_path, monkeypatch):
    write = type(tmp_path).write_text

    def full_disk(path, text, **options):
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(type(tmp_path), "write_text", full_disk)
    status, _, err = run("gains", "--kind", "layer", "--folder", tmp_path)
    assert status == 2
    assert "No space left on device; choose another --folder" in err
    assert not list(tmp_path.iterdir())


def test_a_kind_must_be_given(run):
    status, _, err = run("gains")
    assert status == 2
    assert "Missing option '--kind'" in err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["layer", "command"])
def test_pip_installs_it(kind, run, tmp_path):
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 71:
        pytest.importorskip("wheel", reason="setuptools before 70.1 builds wheels only with the package wheel")
    run("q-word", "--kind", kind, "--folder", tmp_path)
    project, target = tmp_path / "q-word", tmp_path / "installed"
    install = ("-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", target, project)
    done = python(*install, path=[])
    assert done.returncode == 0, done.stderr
    code = "from simulator.cli import main; main(['check-plugin', 'q-word'])"
    check = python("-c", code, path=[target], cwd=tmp_path)
    assert check.returncode == 0, check.stdout + check.stderr
    assert f"{KINDS[kind]} q-word: pass" in check.stdout
