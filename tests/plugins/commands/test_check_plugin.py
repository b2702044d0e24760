"""check-plugin: good ones pass, and a bad one is told what fails, why and what to do, each cause once."""

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulator_plugins.commands import check_plugin
from simulator_plugins.commands.check_plugin import _CURES
from simulator_plugins.optimizers import momentum

from simulator import Catalog
from simulator.cli import main
from simulator.testing import plugin_checks

GOOD = '''
"""Squares."""
from dataclasses import dataclass
from simulator import Elementwise, hookimpl

@dataclass(frozen=True)
class Square(Elementwise):
    """x squared."""
    def value_and_slope(self, x):
        return x * x, 2 * x

@hookimpl
def register_layers(register):
    register("NAME", Square)
'''
LAYER = """
from dataclasses import dataclass
from simulator import CrossEntropy, Elementwise, FunctionLayer, hookimpl

@dataclass(frozen=True)
class Mine(FunctionLayer):
    def output_shape(self, *input_shapes):
        return input_shapes[0]
    def forward(self, params, buffers, *xs, training=False, rng=None):
        BODY

@hookimpl
def register_layers(register):
    register("mine", Mine)
"""
MATRIX = """
from dataclasses import dataclass
from simulator import ExplicitPattern, MatrixLayer, hookimpl

@dataclass(frozen=True)
class Mine(MatrixLayer):
    def output_shape(self, *input_shapes):
        return input_shapes[0]
    def weight_shape(self, input_shape):
        return input_shape[:1]
    def pattern(self, input_shape):
        BODY

@hookimpl
def register_layers(register):
    register("mine", Mine)
"""
COMMAND = '''
import click
IMPORT

@click.command()
@click.option("--much", OPTION)
def command(much):
    """HELP"""
'''


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``simulator check-plugin`` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        with pytest.raises(SystemExit) as end:
            main(["check-plugin", "--in-process", *args])
        captured = capsys.readouterr()
        return Result(end.value.code, captured.out, captured.err)

    return run


def main_status(line):
    """Exit status of the command that a line says to run next."""
    with pytest.raises(SystemExit) as end:
        main(shlex.split(line.partition(": simulator ")[2]))
    return end.value.code


@pytest.fixture
def file(tmp_path):
    """Write a plugin: file("text") gives its name."""

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def installed(monkeypatch):
    """More entry points of one group: installed("simulator.commands", ("name", "module:attribute"), ...)."""
    known = importlib.metadata.entry_points

    def install(group, *points):
        more = [importlib.metadata.EntryPoint(name, value, group) for name, value in points]

        def entry_points(**wanted):
            return [*known(**wanted), *(more if wanted["group"] == group else [])]

        monkeypatch.setattr("importlib.metadata.entry_points", entry_points)

    return install


# ---------------------------------------------------------------------- plugins that keep their promises


def test_an_installed_plugin(run):
    result = run("momentum")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "optimizers momentum: pass (2 checks)",
        "optimizers nesterov: pass (2 checks)",
        "All checks pass.",
        "Next, to see it listed: simulator plugins",
    ]


def test_a_file(run, file):
    result = run(file(GOOD.replace("NAME", "square")))
    assert (result.status, result.err) == (0, "")
    first, verdict, last = result.out.splitlines()
    assert re.fullmatch(r"layers square: pass \((\d+) checks, 4 of them not applicable\)", first)
    assert verdict == "All checks pass."
    assert re.fullmatch(r"Next, to see it listed: simulator plugins -p \S+\.py", last)
    assert main_status(last) == 0


def test_the_file_of_an_installed_plugin_is_that_plugin(run):
    told = run(momentum.__file__)
    assert told == run("momentum")


def test_the_file_of_a_project_is_installed_next(run, tmp_path, monkeypatch):
    with pytest.raises(SystemExit):
        main(["new-plugin", "swirl", "--kind", "layer"])
    result = run("swirl/swirl.py")
    assert result.status == 0
    install, lists = result.out.splitlines()[-2:]
    assert re.fullmatch(r"Next, to install it: \S+ -m pip install -e swirl", install)
    assert main_status(lists) == 0
    announced = importlib.metadata.EntryPoint("swirl", "swirl", "simulator")
    monkeypatch.syspath_prepend(tmp_path / "swirl")
    monkeypatch.setattr(check_plugin, "entry_points", lambda group: [announced] if group == "simulator" else [])
    assert check_plugin._installed(Path("swirl/swirl.py")) == "swirl"
    assert check_plugin._installed(Path("swirl/test_swirl.py")) is None


def test_a_file_in_the_folder_of_another_project_is_not_installed_with_it(run, file, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    path = file(GOOD.replace("NAME", "square"))
    assert Path(path).resolve().parent == tmp_path.resolve()
    result = run(path)
    assert result.status == 0
    assert "pip install" not in result.out


def test_checks_that_do_not_apply_are_told_with_their_reason(run, file):
    out = run(file(GOOD.replace("NAME", "square")), "--verbose").out
    assert out.count("  check_affine does not apply: it gives no matrix for one sample\n") == 1


def test_a_name_of_the_core_is_checked_as_the_plugin_means_it(run, file):
    result = run(file(GOOD.replace("NAME", "relu")))
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("layers relu: pass (")


def test_a_plugin_may_need_another(run, file):
    file(GOOD.replace("NAME", "square"), "other.py")
    net = """
from simulator import Network, hookimpl

def net(make, input_shape=(4,), classes=10, rng=None):
    return Network.sequential(input_shape, [make("square"), make("dense", classes)], rng=rng)

@hookimpl
def register_architectures(register):
    register("net", net)
"""
    assert run(file(net), "-p", "other.py").status == 0
    out = run(file(net)).out
    assert "\n    catalog: expected one of the layers, got 'square'; " in out
    assert " at line 5 of mine.py, in net\n" in out
    assert "Cure" not in out  # the message has its own


def test_json(run, file):
    report = json.loads(run(file(GOOD.replace("NAME", "square").replace("2 * x", "x")), "--json").out)
    assert report["plugin"] == "mine"
    assert not report["ok"]
    by_check = {(c["what"], c["check"]): c for c in report["checks"]}
    assert by_check["layers square on (4,)", "check_dtype"] == {
        "what": "layers square on (4,)",
        "check": "check_dtype",
        "result": "pass",
        "reason": None,
    }
    assert by_check["layers square on (4,)", "check_affine"]["reason"] == "it gives no matrix for one sample"
    wrong = by_check["layers square on (4,)", "check_input_gradients"]
    assert wrong["result"] == "fail"
    assert wrong["promise"] == "The pullback gives the gradients of the inputs, as central differences do"
    assert wrong["found"].startswith("expected gradient of x0 with slope ")
    assert wrong["cure"].startswith("correct the slope")


def test_progress_is_shown_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "Checking momentum" in run("momentum").err


# ---------------------------------------------------------------------- broken promises


def failures(out):
    """(check, what was found, how many more fail with it, cure) of each failure."""
    more = r"(?:    (\d+) more checks? fails? with it: .*\n)?"
    told = re.findall(rf"^  (check_\w+).*:.*\n    (expected .*, got .*)\n{more}    Cure: (.*)\.$", out, re.M)
    return [(check, found, int(more or 0), cure) for check, found, more, cure in told]


def test_a_broken_promise_is_told_once_with_expectation_and_cure(run, file):
    result = run(file(GOOD.replace("NAME", "square").replace("2 * x", "x")))
    assert result.status == 1
    ((check, found, more, cure),) = failures(result.out)
    assert check == "check_input_gradients"
    assert re.match(r"expected gradient of x0 with slope -?[\d.]+ along a random direction, got -?[\d.]+", found)
    assert more == 3  # on the other shapes
    assert cure == "correct the slope, or the first result of the pullback: dy times dy/dx, in x's shape"
    assert result.out.splitlines()[-1] == "4 of 84 checks fail. There is one thing to fix, then check again."


@pytest.mark.parametrize(
    ("body", "found", "cure"),
    [
        (
            "return x.reshape(7, -1), None, {}",
            "NameError: name 'x' is not defined",
            "fix line 10 of mine.py, in forward",
        ),
        (
            "return xs[0].reshape(7, -1), None, {}",
            "ValueError: cannot reshape array of size 150 into shape (7,newaxis)",
            "fix line 10 of mine.py, in forward, which is given arrays (channels, *space, batch)",
        ),
        (
            "return xs[0], lambda dy: [][3], {}",
            "IndexError: list index out of range",
            "fix line 10 of mine.py, in <lambda>",
        ),
    ],
)
def test_one_cause_of_many_failures_is_told_once_and_located(body, found, cure, run, file):
    result = run(file(LAYER.replace("BODY", body)))
    assert result.status == 1
    ((_, told, more, fix),) = failures(result.out)
    assert told.startswith(f"expected no error, got {found}")
    assert more >= 9
    assert re.search(
        r"\n    \d+ more checks fail with it: check_\w+, check_\w+, check_\w+ and \d+ others\n", result.out
    )
    assert fix == cure


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "return xs[0][..., None], None, {}",
            "layer: expected Mine() to give an array (2, 5, 5, 3), got (2, 5, 5, 3, 1); fix the layer",
        ),
        (
            "return xs[0], lambda dy: ((dy[..., None],), {}), {}",
            "backward layer: expected Mine() to give gradients of shapes",
        ),
        (
            "return xs[0]",
            "layer: expected Mine() to give (y, pullback, buffers), got an array (2, 5, 5, 3) of float64; fix",
        ),
        (
            "return xs[0], lambda dy: dy, {}",
            "backward layer: expected Mine() to give (gradients of inputs, gradients of params), got an array (2",
        ),
    ],
)
def test_what_the_simulator_says_of_a_failure_has_its_own_cure(body, found, run, file):
    result = run(file(LAYER.replace("BODY", body)))
    assert result.status == 1
    assert result.out.count(f"\n    {found}") == 1
    assert re.search(r"\n    \d+ more checks fail with it: ", result.out)
    assert "Cure" not in result.out


SAME = "def output_shape(self, *input_shapes):\n        return input_shapes[0]"
TWO_D = {  # right for (channels, height, width), and for nothing else
    "unpacks in forward": (LAYER, "c, h, w, n = xs[0].shape; return 2 * xs[0], lambda dy: ((2 * dy,), {}), {}", SAME),
    "unpacks in output_shape": (
        LAYER,
        "return 2 * xs[0], lambda dy: ((2 * dy,), {}), {}",
        "def output_shape(self, *input_shapes):\n        c, h, w = input_shapes[0]; return c, h, w",
    ),
    "unpacks in the pullback": (
        LAYER,
        "return 2 * xs[0], lambda dy: ((np.einsum('chwn->chwn', 2 * dy),), {}), {}",
        SAME,
    ),
    "turns two axes": (
        LAYER,
        "return xs[0][:, ::-1, ::-1], lambda dy: ((dy[:, ::-1, ::-1],), {}), {}",  # the last one is the batch in 1-D
        SAME,
    ),
    "sums over two axes": (
        LAYER,
        "x = xs[0]; return x.sum(axis=(1, 2)), lambda dy: ((np.broadcast_to(dy[:, None, None], x.shape),), {}), {}",
        "def output_shape(self, *input_shapes):\n        return input_shapes[0][:1]",
    ),
    "unpacks in a pattern": (
        MATRIX,
        "c, h, w = input_shape; u = np.arange(c * h * w); return ExplicitPattern(u, u, u // h // w, shape=u.shape * 2)",
        SAME,
    ),
}


@pytest.mark.parametrize(("text", "body", "shape"), list(TWO_D.values()), ids=list(TWO_D))
def test_a_layer_for_two_axes_of_space_fails_for_one_reason_and_the_cure_works(text, body, shape, run, file):
    text = "import numpy as np\nfrom simulator import ShapeError\n" + text.replace("BODY", body).replace(SAME, shape)
    result = run(file(text))
    assert result.status == 1
    ((check, found, more, cure),) = failures(result.out)
    assert check == "check_other_shapes"
    assert " (2, 5, 5)" not in found  # which is right
    assert more <= 2
    start, _, guard = cure.partition(": ")
    assert start == "make the layer right for such an input, or begin output_shape with"
    assert guard == "if len(input_shapes[0]) != 3: raise ShapeError('expected an input of 3 axes')"
    head, body = shape.split("\n", 1)
    result = run(file(text.replace(shape, f"{head}\n        {guard}\n{body}")))
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (
            "c, w, n = xs[0].shape; return 2 * xs[0], lambda dy: ((2 * dy,), {}), {}",
            "with: if len(input_shapes[0]) != 2: ",
        ),
        ("assert len(xs[0]) != 3; return 2 * xs[0], lambda dy: ((2 * dy,), {}), {}", "with a test that raises a Shape"),
    ],
)
def test_what_a_layer_has_to_refuse_is_told_by_what_it_is_right_for(body, end, run, file):
    ((check, _, _, cure),) = failures(run(file(LAYER.replace("BODY", body))).out)
    assert check == "check_other_shapes"
    assert f" begin output_shape {end}" in cure


@pytest.mark.parametrize(
    ("body", "check", "cure"),
    [
        ("xs[0] *= 2; return xs[0], lambda dy: ((2 * dy,), {}), {}", "check_output_shape",
         "in line 11 of mine.py, in forward: compute new arrays"),
        ("r = np.random.random(xs[0].shape); return r * xs[0], lambda dy: ((r * dy,), {}), {}", "check_seed", "draw "),
        ("y = np.sqrt(xs[0]); return y, lambda dy: ((dy / y,), {}), {}", "check_output_shape", "make forward "),
        ("from scipy.special import softmax\n        y = softmax(xs[0], axis=-1)\n"
         "        return y, lambda dy: ((y * (dy - (dy * y).sum(axis=-1, keepdims=True)),), {}), {}",
         "check_batch", "sum and average over channels and space only; the batch is the last axis"),
        ("return np.float64(2) * xs[0], lambda dy: ((2 * dy,), {}), {}", "check_dtype", "write x.dtype.type(number)"),
        ("def back(dy):\n            dy *= 2; return (dy,), {}\n        return 2 * xs[0], back, {}",
         "check_unchanged", "compute new arrays: y = 2 * x"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of a root
def test_a_common_mistake_is_one_thing_to_fix(body, check, cure, run, file):
    text = "import numpy as np\n" + LAYER.replace("BODY", body)
    out = run(file(text)).out
    ((told, _, more, fix),) = failures(out)
    assert told == check
    assert fix.startswith(cure)
    failed, checks = map(
        int, re.search(r"^(\d+) of (\d+) checks? fails?\. There is one thing to fix", out, re.M).groups()
    )
    assert failed == 1 + more
    report = json.loads(run("mine.py", "--json").out)
    (failure,) = report["failures"]
    assert (failure["check"], failure["cure"], failure["checks"]) == (told, fix, failed)
    kinds = {c["check"] for c in report["checks"] if c["result"] == "fail"}
    assert {told, *failure["others"]} == kinds
    assert len(report["checks"]) == checks


def test_two_causes_are_two_things_to_fix(run, file):
    text = LAYER.replace("BODY", "return 2.0 * xs[0], lambda dy: ((dy.astype('float64'),), {}), {}")
    out = run(file(text)).out
    assert [check for check, *_ in failures(out)] == ["check_dtype", "check_input_gradients"]
    assert out.endswith("checks fail. There are 2 things to fix; begin with the first, then check again.\n")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("return {}", "plugin mine, architecture net: expected a Network, got dict; return one from the function"),
        (
            "return Network.sequential(input_shape, [make('dense', 3)], rng=rng)",
            "expected two samples of 7 logits, got (2, 3); end in one unit for each class",
        ),
        (
            "return Network.sequential(input_shape, [make('dense', classes)], rng=rng and 0)",
            "expected other weights from another seed, got the same; hand rng to every layer that is added",
        ),
        (
            "return Network.sequential(input_shape, [make('dense', classes)], rng=rng or 0)",
            "expected no weights without rng, got some; hand rng to every layer that is added",
        ),
    ],
)
def test_each_fault_of_an_architecture_has_its_own_cure(body, found, run, file):
    text = f"""
from simulator import Network, hookimpl
def net(make, input_shape=(4,), classes=10, rng=None):
    {body}
@hookimpl
def register_architectures(register):
    register("net", net)
"""
    result = run(file(text))
    assert result.status == 1
    assert f"\n    {found}\n" in result.out
    assert "Cure" not in result.out


def test_what_cannot_be_checked_does_not_pass(run):
    result = run("idx")
    assert result.out.splitlines() == [
        "datasets idx: not checked (1 check, 1 of them not applicable)",
        "No check applies; --verbose says why.",
        "Next, to see it listed: simulator plugins",
    ]


def test_losses_are_judged_too(run, file):
    text = """
from simulator import hookimpl

class Sum:
    def value(self, prediction, target):
        return prediction.sum()
    def grad(self, prediction, target):
        return prediction

@hookimpl
def register_losses(register):
    register("sum", Sum)
"""
    result = run(file(text))
    assert result.status == 1
    ((check, found, more, cure),) = failures(result.out)
    assert (check, more) == ("check_loss", 1)
    assert found.startswith("expected mean over the batch ")
    assert cure.startswith("return float(the mean over the batch) from value")


def test_there_is_a_cure_for_every_check():
    catalog = Catalog()
    names = [*(plugin.name for plugin in catalog.plugins), "check-plugin"]
    checks = {check for name in names for _, check, _ in plugin_checks(catalog, name)}
    assert len(checks) > 25
    own = {"check_examples", "check_architecture", "check_other_shapes"}  # say themselves what to do
    assert checks - own == set(_CURES)


# ---------------------------------------------------------------------- plugins that cannot be loaded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name", "expected a module that can be imported, got ModuleNotFoundError"),
        (GOOD.replace("NAME", "Sq"), "plugin mine (mine.py), register_layers: expected a name of small letters"),
        (GOOD.replace("@hookimpl", ""), "expected @hookimpl above register_layers, got a plain function"),
        (GOOD.replace('    register("NAME", Square)', "    pass"), "expected it to offer something, got nothing"),
    ],
)
def test_a_file_that_cannot_be_loaded(text, message, run, file):
    result = run(file(text))
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_a_missing_file(run):
    assert "plugin mine.py: expected a Python file, got no such file; check the path" in run("mine.py").err


def test_an_installed_plugin_that_is_broken_says_why(run, installed):
    installed("simulator", ("shaky", "no_such_module"))
    result = run("shaky")
    assert result.status == 2
    assert result.err.count("\n") == 1
    assert "Error: plugin shaky (no_such_module): expected a module that can be imported" in result.err
    other = run("momentum")
    assert other.status == 0
    assert other.err.startswith("Warning: plugin shaky (no_such_module): ")


def test_an_unknown_name_and_an_unknown_engine(run):
    assert "expected a plugin or command that is installed, got 'momentun'; install yours with" in run("momentun").err
    assert "did you mean 'momentum'?" in run("momentun").err
    assert "got 'scipi'; did you mean 'scipy'?" in run("momentum", "--engine", "scipi").err


# ---------------------------------------------------------------------- commands


def test_the_bundled_commands(run):
    for name in ("check-plugin", "new-plugin"):
        result = run(name)
        assert (result.status, result.err) == (0, "")
        assert result.out.startswith(f"commands {name}: pass (3 checks)\n")


@pytest.mark.parametrize(
    ("changes", "name", "check", "found"),
    [
        (
            {"IMPORT": "import simulator.network"},
            "quick",
            "check_imports",
            "nothing but click and the standard library",
        ),
        ({"IMPORT": "import no_such_module"}, "quick", "check_command", "No module named 'no_such_module'"),
        (
            {"IMPORT": "command = 3\nraise SystemExit(4)"},
            "quick",
            "check_command",
            "expected no error, got SystemExit: 4",
        ),
        ({"def command": "def other", "HELP": "x"}, "quick", "check_command", "has no attribute 'command'"),
        (
            {"@click.command()": "", "@click.option": "@(lambda *a, **k: lambda f: f)"},
            "quick",
            "check_command",
            "a click command, got <function",
        ),
        ({"HELP": ""}, "quick", "check_help", "expected help, got none"),
        ({"OPTION": "help=''"}, "quick", "check_help", "expected help for --much, got none"),
        ({}, "train", "check_imports", "another name than those of the simulator's own commands, got train"),
    ],
)
def test_a_command_that_breaks_a_promise(changes, name, check, found, run, file, tmp_path, installed, monkeypatch):
    text = COMMAND
    for old, new in {"IMPORT": "", "OPTION": "help='How much.'", "HELP": "Does it."}.items():
        text = text.replace(old, changes.get(old, new))
    for old, new in changes.items():
        text = text.replace(old, new)
    module = tmp_path.name  # another one for each test
    file(text, f"{module}.py")
    monkeypatch.syspath_prepend(tmp_path)
    installed("simulator.commands", (name, f"{module}:command"))
    result = run(name)
    assert result.status == 1, result.err
    checks = {told[0]: told for told in failures(result.out)}
    assert found in checks[check][1]


def test_two_commands_of_one_name(run, file, tmp_path, installed, monkeypatch):
    file(COMMAND.replace("IMPORT", "").replace("OPTION", "help='x'"), "twice.py")
    monkeypatch.syspath_prepend(tmp_path)
    installed("simulator.commands", ("twice", "twice:command"), ("twice", "twice:command"))
    result = run("twice")
    assert result.status == 1
    assert "expected one plugin to offer this command, got 2" in result.out


# ---------------------------------------------------------------------- plugins that end the process


@pytest.mark.parametrize(
    ("body", "as_json", "told"),
    [
        ("import os; os._exit(3)", False, "got its end with status 3 during check_"),
        ("import os; os._exit(3)", True, "got its end with status 3 during check_"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", False, "got its end by signal 11 during check_"),
        ("raise SystemExit(3)", False, "expected no error, got "),
        ("class Stop(BaseException): pass\n        raise Stop('now')", False, "Stop: now"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_plugin_that_ends_the_process_is_named(file, tmp_path, body, as_json, told):
    file("print('loud at import')\n" + LAYER.replace("BODY", "print('loud at work')\n        " + body))
    code = "from simulator.cli import main; main()"
    command = [sys.executable, "-c", code, "check-plugin", "mine.py", *["--json"] * as_json]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1, result.stderr
    assert told in result.stdout
    if as_json:
        content = json.loads(result.stdout)  # nothing that the plugin prints is in it
        assert not content["ok"]
        assert "loud at work" in result.stderr


def test_a_plugin_that_ends_the_process_as_it_is_loaded_is_named(file, tmp_path):
    file("import os\nos._exit(4)")
    code = "from simulator.cli import main; main()"
    command = [sys.executable, "-c", code, "check-plugin", "mine.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "got its end with status 4 during loading" in result.stdout


def test_a_good_plugin_passes_in_a_process_of_its_own(file, tmp_path):
    file(GOOD.replace("NAME", "square"))
    code = "from simulator.cli import main; main()"
    command = [sys.executable, "-c", code, "check-plugin", "mine.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "All checks pass." in result.stdout
