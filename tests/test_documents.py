"""Documents stay true: docstrings, README, examples, hooks and packaging are compared with the code."""

from __future__ import annotations

import configparser
import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import simulator_plugins

import simulator
from simulator import Catalog, hookspecs
from simulator.cli import cli, main
from simulator.testing import check_layer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def blocks(language):
    """The fenced blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def modules():
    for package in (simulator, simulator_plugins):
        yield package.__name__
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield info.name


OPTIONAL = {"simulator_plugins.engines.numba_engine": "numba"}  # what a package needs beyond `.[test]`


@pytest.mark.parametrize("name", list(modules()))
def test_docstrings(name):
    for package, library in OPTIONAL.items():
        if name == package or name.startswith(f"{package}."):
            pytest.importorskip(library)
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_public_name_exists_and_is_documented(name):
    assert inspect.getdoc(getattr(simulator, name)), name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'simulator' has no attribute 'nothing'"):
        _ = simulator.nothing


def test_python_in_the_readme():
    session = "\n".join(blocks("pycon"))
    test = doctest.DocTestParser().get_doctest(session, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 10
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.failures == 0


def commands():
    """(command, expected output) of every ``$ simulator`` line in the README that is followed by its output."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield pytest.param(command, output, id=command)


@pytest.mark.parametrize(("command", "output"), list(commands()))
def test_commands_in_the_readme(command, output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, *args = shlex.split(command)
    assert program == "simulator"
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code == 0
    printed = capsys.readouterr().out
    wanted = [line.split() for line in output.splitlines() if line.strip()]
    got = [line.split() for line in printed.splitlines() if line.strip()]
    assert [line for line in got if line in wanted] == [line for line in wanted if line != ["..."]]


@pytest.mark.slow
def test_the_first_command_prints_what_the_readme_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train"])
    assert end.value.code == 0

    def lines(text):
        """Without what depends on the processor: numbers that are measured, and which units are silent."""
        text = re.sub(r"respond to none: .*", "respond to none:", text)
        text = re.sub(r"\d\.\de[+-]\d\d|\d+\.\d+ (s|MB)|loss \S+|\d+\.\d\d%", "...", text)
        return [" ".join(line.split()) for line in text.replace(".venv/bin/", "").splitlines() if line.strip()]

    (block,) = [block for block in blocks("text") if block.startswith("lenet5: Network")]
    printed = iter(lines(capsys.readouterr().out))
    for line in lines(block):
        assert any(line == re.sub(r"^(Next.*: ).*(simulator .*)", r"\1\2", other) for other in printed), line


def test_every_command_is_in_the_readme():
    for name in cli.list_commands(click.Context(cli)):
        assert f"simulator {name}" in README, name


def test_the_picture_is_what_its_command_draws(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    path = re.search(r"^!\[.*\]\((.*)\)$", README, re.M)[1]
    command = shlex.split(re.search(r"^\*`simulator (draw .*)` drew this", README, re.M)[1])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--output", "again.png"])
    there, again = (np.asarray(image.open(file).convert("L"), float) for file in (ROOT / path, "again.png"))
    assert there.shape == again.shape
    assert np.abs(there - again).mean() < 4  # of 255: letters differ from one version of a library to another


def test_every_hook_is_in_the_readme_and_used_by_a_bundled_plugin():
    sources = "\n".join(p.read_text() for p in [*(ROOT / "plugins").rglob("*.py"), ROOT / "simulator" / "builtin.py"])
    for kind in hookspecs.SHELVES:
        assert f"register_{kind}" in README
        assert f"def register_{kind}(register)" in sources
        assert list(inspect.signature(getattr(hookspecs, f"register_{kind}")).parameters) == ["register"]


@pytest.mark.parametrize("kind", hookspecs.SHELVES)
def test_every_hook_has_an_example_and_its_call_is_in_the_readme(kind):
    hook = getattr(hookspecs, f"register_{kind}")
    sources = [example.source for example in doctest.DocTestParser().get_examples(hook.__doc__)]
    assert any(f"def register_{kind}(self, register)" in source for source in sources)
    assert any("Catalog(" in source for source in sources)
    call = re.search(r"``(register\(.*?\))``", hook.__doc__)[1]
    assert f"| `{call}` |" in README


def test_the_readme_says_where_commands_are_announced():
    assert '[project.entry-points."simulator.commands"]' in README
    assert all(f"--kind {kind}" in README for kind in ("layer", "command"))


def test_the_plugin_of_the_readme(tmp_path):
    source, project = (next(b for b in blocks(kind) if "swish" in b) for kind in ("python", "toml"))
    file = tmp_path / "swish.py"
    file.write_text(source)
    layer = Catalog(str(file)).make("swish", beta=2.0)
    check_layer(layer, (2, 3, 3))
    assert '[project.entry-points.simulator]\nswish = "swish"' in project


LAST = {
    "01_one_neuron.py": (0, 1e-6),
    "02_convolution_by_hand.py": (0, 0),
    "03_two_dimensions.py": (100, 100),
    "04_pooling.py": (16, 16),
    "05_the_whole_net.py": (12, 12),
    "06_training.py": (0.96, 1),
    "07_a_layer_of_your_own.py": (23, 23),
    "08_an_optimizer_of_your_own.py": (0.9, 1),
    "09_two_small_kernels.py": (0.72, 0.72),
    "10_inception.py": (163_328, 163_328),
    "11_skip_connections.py": (0.3, 2.3),
    "12_gan.py": (7, 10),
    "13_follow_one_unit.py": (0, 1e-12),
    "14_a_shared_gradient_is_a_sum.py": (0, 1e-12),
    "15_untie_and_densify.py": (0, 1e-12),
    "16_the_whole_net_is_one_matrix.py": (250, 1000),
    "17_receptive_fields.py": (0.181, 0.182),
    "18_ablation.py": (2, 20),
}


SLOW = ("11_skip_connections.py", "12_gan.py")


def test_every_example_has_its_number():
    assert sorted(LAST) == sorted(p.name for p in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in LAST]
)
def test_examples(name, tmp_path):
    path = ROOT / "examples" / name
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    number = float(re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", done.stdout.splitlines()[-1])[-1])
    least, most = LAST[name]
    assert least <= number <= most
    assert "np." not in done.stdout  # numbers, and not how NumPy writes them in lists
    assert name[:2] in README
    assert len(path.read_text().splitlines()) <= 60


def test_every_bundled_plugin_is_announced_and_packaged():
    points = dict(
        (part.strip().removesuffix(":command") for part in line.split("=", 1))
        for group in ("simulator", "simulator.commands")
        for line in SETUP["options.entry_points"][group].strip().splitlines()
    )
    plugins = {  # a file, or a folder of several
        ".".join(("simulator_plugins", *p.relative_to(ROOT / "plugins").with_suffix("").parts))
        for p in (ROOT / "plugins").glob("*/*")
        if (p.suffix == ".py" and p.name != "__init__.py") or (p / "__init__.py").exists()
    }
    assert set(points.values()) == plugins
    packages = set(SETUP["options"]["packages"].split())
    schemas = [file for folder in ("simulator", "plugins") for file in (ROOT / folder).rglob("*.json")]
    assert len(schemas) > 10
    assert all(file.match("schemas/*.json") for file in schemas)
    assert SETUP["options.package_data"]["*"].split() == ["schemas/*.json", "static/*"]
    for top, folder in (("simulator", "simulator"), ("simulator_plugins", "plugins")):
        for init in (ROOT / folder).rglob("__init__.py"):
            assert ".".join((top, *init.parent.relative_to(ROOT / folder).parts)) in packages


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, simulator, simulator.cli; heavy = ('numpy', 'scipy', 'networkx', 'rich', 'matplotlib', 'pluggy'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
