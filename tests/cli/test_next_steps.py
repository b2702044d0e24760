"""Every command that is printed to be run next works as it is printed, and loses nothing that was given."""

import ast
import configparser
import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator import Catalog, Dense, Network, save
from simulator.cli.steps import free, program, python

ROOT = Path(__file__).parents[2]
SMALL = ("--input", "1x12x12", "-o", "width=0.3")
PLUGIN = """
from simulator import hookimpl, Network

def tiny(make, input_shape=(1, 12, 12), classes=2, rng=None, maps=2):
    layers = [("conv1", make("conv", maps, kernel=5, stride=2)), ("relu1", make("relu")), ("flat", make("flatten"))]
    return Network.input(input_shape).chain([*layers, ("dense1", make("dense", classes))], rng=rng)

@hookimpl
def register_architectures(register):
    register("tiny", tiny)
"""


@pytest.fixture(autouse=True)
def things(folder):
    """A plugin and data, both with names that a shell would take apart."""
    Path("my plugins").mkdir()
    Path("my plugins/tiny.py").write_text(PLUGIN)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    np.savez("vec.npz", inputs=rng.random((60, 20), np.float32), targets=labels)
    images = rng.random((60, 1, 14, 14), np.float32)
    images[np.arange(60), 0, labels * 4] += 2
    np.savez("my data.npz", inputs=images, targets=labels)


TINY = ("-p", "my plugins/tiny.py")
OWN = ("--data", "my data.npz")
FAST = ("--epochs", "1", "--no-proof")

# what is run; what its next commands must have in them
STEPS = [
    (["train", "lenet5", *SMALL, "--data", "xo", *FAST], ["--input 1x12x12", "-o width=0.3", "--classes 2", "--save"]),
    (["train", "mlp", "--data", "vec.npz", *FAST, "--lr", "0.01"], ["--input 20", "--classes 3", "--lr 0.01"]),
    (
        [*TINY, "train", "tiny", "-o", "maps=3", *OWN, *FAST],
        ["-p 'my plugins/tiny.py'", "-o maps=3", "1x14x14"],
    ),
    (["train", "tiny", *TINY, *OWN, *FAST, "--save", "a net"], ["-p 'my plugins/tiny.py'", "evaluate 'a net'"]),
    (["train", "mlp", "--data", "vec.npz", *FAST, "--save", "n", "--lr", "1e-9"], ["evaluate n"]),
    (
        ["unit", "lenet5", "dense1[3]", *SMALL, "--data", "xo", "--sample", "4"],
        ["width=0.3", "--data xo --sample 4"],
    ),
    (["unit", "lenet5", "conv1[0, 3, 3]", *SMALL, "--data", "xo"], None),
    ([*TINY, "unit", "tiny", "dense1[1]", "--input", "1x14x14", *OWN, "--limit", "3"], ["--data 'my data.npz'", "-p"]),
    (["weight", "lenet5", "conv1.weight[0, 0, 2, 1]", *SMALL, "--data", "xo"], ["--data xo", "width=0.3", "--set 0"]),
    (
        ["ablate", "lenet5", "relu1", *SMALL, "--data", "xo", "--by", "site"],
        ["--data xo", "effect lenet5", "=0.3"],
    ),
    ([*TINY, "ablate", "tiny", "conv1", *OWN, "--input", "1x14x14", "--classes", "3"], ["--data 'my data.npz'", "-p"]),
    (
        ["respond", "lenet5", "conv2[3]", *SMALL, "--data", "xo", "--limit", "2", "--steps", "2"],
        ["--limit 2", "--data"],
    ),
    (["affine", "lenet5", *SMALL, "--data", "xo", "--sample", "3"], ["--output rows.png", "--line 0", "--sample 3"]),
    (["affine", "mlp", "--input", "20", "--data", "vec.npz", "--output", "a.png"], ["--line 1", "--input 20"]),
    (["affine", "lenet5-1998", "--input", "1x32x32", "--jacobian", "--data", "xo"], ["--jacobian", "--output"]),
    (["sharing", "lenet5", *SMALL, "--data", "xo", "--untie", "--samples", "9"], ["--untie", "--save", "--samples 9"]),
    (["sharing", "mlp", "--input", "20", "--data", "vec.npz", "--densify", "--save", "s"], ["train s --data vec.npz"]),
    (["graph", "lenet5", *SMALL, "--output", "g.png"], ["graph lenet5 'dense1[", "width=0.3"]),
    ([*TINY, "graph", "tiny", "conv1[1, 2, 2]", "--data", "xo"], ["--data xo", "-p", "--output tiny-graph.graphml"]),
    (["check-plugin", "my plugins/tiny.py"], ["-p 'my plugins/tiny.py'"]),
    (["check-plugin", "adagrad"], ["simulator plugins"]),
]


@pytest.mark.parametrize(("args", "kept"), STEPS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_the_next_commands_work_and_keep_what_was_given(args, kept, run, follow):
    result = run(*args)
    assert result.status == 0, result
    next_lines = [line for line in result.out.splitlines() if line.startswith("Next")]
    assert all(re.fullmatch(r"Next(, [^:]+)?: simulator .*", line) for line in next_lines)
    if kept is None:
        assert not next_lines
        return
    for words in kept:
        assert any(words in line for line in next_lines), (words, next_lines)
    follow("\n".join(next_lines))


def test_what_is_written_next_is_written_to_new_files(run, follow):
    Path("net.safetensors").write_text("mine")
    result = run("train", "mlp", "--data", "vec.npz", *FAST)
    follow(result.out)
    assert Path("net.safetensors").read_text() == "mine"
    assert Path("net-2.safetensors").is_file()
    assert free("net.safetensors") == "net-3.safetensors"


def test_a_saved_network_is_trained_on_its_own_data(run, follow):
    run("train", "mlp", "--data", "vec.npz", *FAST, "--save", "net")
    result = run("train", "net", *FAST)
    assert "vec.npz: 48 samples to train on" in result.out
    assert "never saw" in result.out
    kept = follow(result.out)
    assert list(kept) == ["simulator train net --epochs 1 --no-proof --save net.safetensors"]
    save("python", Network.sequential((1, 12, 12), [Dense(10)], rng=0))  # it does not say what it was trained on
    assert "digits: " in run("train", "python", *FAST).out


NOT = "which does not exist; check the path"
CURES = [  # what is run, what it says, and what the cure leads to
    (["evaluate", "mlp", "--data", "vec.npz"], "train one", "Saved to mlp.safetensors"),
    (["draw", "mlp", "--what", "curve", "--data", "vec.npz"], "train it", "Saved to net.safetensors"),
    ([*TINY, "evaluate", "tiny", "--data", "xo"], "train one", "Saved to tiny.safetensors"),
    (
        ["unit", "mlp", "dense1[0]", "--data", "vec.npz"],
        "of shape (1, 8, 8), got (20,)",
        "dense1[0] of",
    ),
    (["unit", "resnet20-cifar", "conv[0, 0, 0]"], "a shape (1, height, width), got (3, 32, 32)", "conv[0, 0, 0] of"),
    (["train", "mlp", "--data", "vec.npz", "--input", "1x16x16", *FAST], "got (20,)", "mlp: Network"),
    (
        ["train", "--data", "xo", "--input", "1x5x5", *FAST, "-o", "width=0.3"],
        "at least 8 x 8, got (1, 5, 5)",
        "xo: 800",
    ),
    (["train", "--resume", "ck", "--epochs", "2", "--no-proof"], "start a new run from its weights", "After 2 epochs"),
    (
        ["train", "mlp", "--data", "vec.npz", "--save", "ck", *FAST],
        "finish an interrupted run",
        "is nothing left",
    ),
]


@pytest.mark.parametrize(("args", "message", "cured"), CURES, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_cures_that_are_commands_work(args, message, cured, run, follow):
    if "resnet20-cifar" in args:  # on the digits
        pytest.importorskip("sklearn")
    if "ck" in args:
        assert run("train", "mlp", "--data", "vec.npz", *FAST, "--save", "ck").status == 0
    complaint = run(*args).complaint
    assert message in complaint
    (result,) = follow(complaint.replace("evaluate mlp", "")).values()
    assert cured in result.out


@pytest.mark.parametrize(
    ("command", "more"),
    [("ablate", ["relu1"]), ("describe", []), ("unit", ["conv1[0]"]), ("train", []), ("evaluate", []), ("graph", [])],
)
def test_a_path_to_nothing_is_called_so(command, more, run):
    for path in ("nofile.st", "no/file", "net.safetensors"):
        assert run(command, path, *more).complaint.endswith(f"got {path!r}, {NOT}")


def test_units_to_change_are_units_of_the_network(run):
    complaint = run("effect", "mlp", "--input", "20", "--data", "vec.npz").complaint
    cures = re.findall(r"(--\w+) ('.*?')", complaint)
    assert [option for option, _ in cures] == ["--clamp", "--ablate", "--patch"]
    for option, value in cures:
        done = run("effect", "mlp", "--input", "20", "--data", "vec.npz", option, *shlex.split(value))
        assert done.status == 0, done


def test_an_image_of_another_size_is_one_cure_away(run):
    complaint = run("describe", "lenet5", "--input", "1x5x5").complaint
    size = re.search(r"of at least (\d+) x (\d+), got \(1, 5, 5\); resize the images to that size, or", complaint)
    assert run("describe", "lenet5", "--input", f"1x{size[1]}x{size[2]}").status == 0


def test_training_that_makes_it_worse_says_so_and_how_to_do_better(run, follow):
    args = ("train", "mlp", "--data", "xo", "--epochs", "2", "--no-proof", "--save", "net")
    result = run(*args, "--lr", "1e9")
    (warning,) = [line for line in result.err.splitlines() if line.startswith("Warning: ")]
    assert re.search(
        r"the loss ends at \d\S* and was 0\.\d+ before: the steps were too long; train with a smaller", warning
    )
    (cured,) = follow(warning).values()
    assert "Warning" not in cured.err
    assert float(re.search(r"test accuracy (\S+)%", cured.out)[1]) > 60
    resumed = run("train", "--resume", "net", "--no-proof")
    assert "Warning" not in resumed.err  # nothing was trained
    assert "Warning" not in run(*args, "--overwrite", "--lr", "1e-9").err  # no better, but no worse, either


def test_one_of_a_thing_is_not_several(run):
    np.savez("one.npz", inputs=np.eye(20, dtype=np.float32)[:5], targets=np.arange(5) % 2)
    trained = run("train", "mlp", "--data", "one.npz", "--epochs", "1", "--save", "net").out
    assert "4 samples to train on, 1 held out to test on" in trained
    assert "After 1 epoch and " in trained
    assert "1 held-out sample;" in trained or "1 held-out sample." in trained or "1 held-out sample:" in trained
    assert "net on 1 held-out sample of one.npz: loss" in run("evaluate", "net").out
    assert "on 1 held-out sample of one.npz\n" in run("ablate", "net", "relu1").out
    assert "finished after 1 epoch: " in run("train", "--resume", "net").out
    assert "On 1 sample of one.npz" in run("sharing", "net", "--densify", "--samples", "1").out
    texts = [trained, *(run(command, "net").out for command in ("evaluate", "predict", "describe", "equivalence"))]
    assert not re.search(r"\b1 (samples|epochs|layers|steps|units|regions)\b", "".join(texts))


def test_what_is_not_shown_is_told(run):
    run("train", "mlp", "--data", "my data.npz", *FAST, "--save", "net")
    out = run("predict", "net").out
    assert out.splitlines()[-1] == "The first 10 of 12; --limit 12 lists all."
    assert " lists all." not in run("predict", "net", "--limit", "12").out
    truths = np.zeros(60, int)
    save("sure", Network.sequential((1, 14, 14), [Dense(3)], rng=0).with_params({"dense1.bias": [9e9, 0, 0]}))
    np.savez("zeros.npz", inputs=np.load("my data.npz")["inputs"], targets=truths)
    out = run("predict", "sure", "--data", "zeros.npz", "--wrong").out
    assert out == "sure on samples of zeros.npz: 0 of 60 are predicted wrongly.\n"


def test_a_figure_of_a_line_says_what_it_draws(run):
    args = ("affine", "mlp", "--input", "20", "--data", "vec.npz", "--output", "rows.png")
    assert run(*args, "--line", "1").out.endswith("Drew rows.png: the rows of A at sample 0; the way is not drawn.\n")
    assert "Drew rows.png: the rows of A at sample 0.\n" in run(*args).out


FIGURES = [
    (["draw", "relu1", "--what", "activations", "--sample", "3", "--output"], True),
    (["draw", "conv1", "--what", "kernel", "--output"], False),
    (["draw", "conv1", "--output"], False),
    (["draw", "conv1", "--what", "window", "--sample", "3", "--output"], True),
    (["unit", "conv1[0, 3, 4]", "--sample", "3", "--output"], True),
    (["affine", "--sample", "3", "--output"], True),
    (["ablate", "relu1", "--output"], False),
    (["respond", "conv1[0]", "--steps", "2", "--output"], False),
    (["graph", "--output"], False),
    (["graph", "conv1[0, 3, 4]", "--sample", "3", "--output"], True),
]


@pytest.mark.parametrize(("args", "sampled"), FIGURES, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_every_figure_names_its_network_and_its_sample(args, sampled, run, trained, monkeypatch):
    pytest.importorskip("matplotlib")
    titles = []
    monkeypatch.setattr("simulator.draw.save", lambda figure, path: titles.append(figure.get_suptitle()))
    command, *rest = args
    assert run(command, trained, *rest, "a.png").status == 0
    assert titles[0].splitlines()[-1] == f"{trained}{', sample 3' if sampled else ''}"


def test_why_an_engine_may_differ_by_nothing_is_said(run):
    out = run("equivalence", "mlp", "--engine", "blas").out
    assert "difference is 0.0e+00.\nFor this check inputs and gradients are small whole numbers" in out


@pytest.mark.parametrize("found", [True, False])
def test_the_program_is_called_as_the_shell_finds_it(found, run, monkeypatch, folder):
    script = folder / "bin" / "simulator"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["bin/simulator", "graph"])
    monkeypatch.setenv("PATH", str(script.parent) if found else str(folder / "elsewhere"))
    assert program() == ("simulator" if found else "bin/simulator")
    out = run("graph", "mlp").out
    assert f": {program()} graph mlp 'dense" in out
    assert python() == sys.executable


def test_python_is_called_by_its_name_where_the_shell_finds_this_one(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", str(folder / "python3"))
    for name in ("python", "python3"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert python() == "python"


def hints():
    """(module that was missing, what pip is told to install) of every such hint in the sources."""
    for path in sorted(p for part in ("simulator", "plugins") for p in (ROOT / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Try):
                raising = node.handlers
            elif isinstance(node, ast.If) and "importlib.util.find_spec" in ast.unparse(node.test):
                raising = node.body
            else:
                continue
            told = [
                text.value
                for handler in raising
                for text in ast.walk(handler)
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and "pip install" in text.value
            ]
            imported = [
                name.value
                for name in ast.walk(node.test if isinstance(node, ast.If) else ast.Pass())
                if isinstance(name, ast.Constant) and name.value
            ] + [
                name.partition(".")[0]
                for each in node.body
                for part in ast.walk(each)
                if isinstance(part, (ast.Import, ast.ImportFrom))
                for name in ([part.module] if isinstance(part, ast.ImportFrom) else [a.name for a in part.names])
            ]
            for text in told:
                (wanted,) = re.findall(r"pip install (?:--upgrade )?'?([\w-]+)", text)
                yield pytest.param(imported, wanted, id=f"{path.relative_to(ROOT)}-{wanted}")


def test_every_install_hint_is_among_those_that_are_checked():
    written = [
        line
        for part in ("simulator", "plugins")
        for path in (ROOT / part).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"pip install (?!-e|\.)", line) and "python -m" not in line
    ]
    assert len(written) == len(list(hints())) >= 8


@pytest.mark.parametrize(("imported", "wanted"), list(hints()))
def test_what_pip_is_told_to_install_is_what_was_missing(imported, wanted):
    """By the packages that are installed here; pip takes each by its name, wherever the simulator came from."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = "\n".join(setup["options.extras_require"].values())
    assert wanted == "torch" or re.search(rf"^{re.escape(wanted)}\b", extras, re.MULTILINE)
    brings = importlib.metadata.packages_distributions()
    for module in set(imported) - {"simulator"}:
        if module in brings:
            assert wanted in [name.lower() for name in brings[module]]


@pytest.mark.parametrize("name", ["-net", "a b'c", "ü$x", "*"])
def test_next_commands_name_odd_files_so_that_shell_and_program_find_them(name, run, folder):
    save(name, Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3))
    (last,) = run("ablate", "--data", "xo", "--samples", "9", "--", name, "relu1").out.splitlines()[-1:]
    program, *words = shlex.split(last.partition(": ")[2])
    assert program == "simulator"
    assert run(*words).status == 0
