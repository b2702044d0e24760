"""Messages: what somebody gave is shown on one line, by kind and size where it is large."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import simulator_plugins
from scipy import sparse

import simulator
from simulator import Conv, MaxPool, PluginError, identity
from simulator.errors import blamed, brief, nearest


class Unwritable:
    def __repr__(self):
        raise RuntimeError("no text")


@dataclass
class Talkative:
    words: str = "word " * 100


def nested(depth):
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (-(10**30), "-1000000000000000000000000000000"),
        (10**5000, "an integer of about 5,001 digits"),
        (-(10**5000), "an integer of about 5,001 digits"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        (np.float64(9), repr(np.float64(9))),
        (np.array(3), "an array () of int64"),
        (np.arange(3), "an array (3,) of int64"),
        (np.zeros((2, 3), np.float32), "an array (2, 3) of float32"),
        (np.array(["a"]), "an array (1,) of <U1"),
        (sparse.csr_array(np.eye(3)), "a csr_array (3, 3) of float64"),
        ("conv1", "'conv1'"),
        ("it's", '"it\'s"'),
        ("two\nlines\x1b[31m", "'two\\nlines\\x1b[31m'"),
        ("x" * 5000, "'" + "x" * 80 + "...'"),
        (b"\x00\x01", "b'\\x00\\x01'"),
        (Path("a/b"), "'a/b'"),
        ([], "[]"),
        (set(), "a set of 0"),
        ((3,), "(3,)"),
        ([1, "a", None], "[1, 'a', None]"),
        (((1, 1), (2, 2)), "((1, 1), (2, 2))"),
        ({"a": 1, "b": [2]}, "{'a': 1, 'b': [2]}"),
        ([[1, 2], [3, 4]], "a list of 2 ([1, 2], ...)"),
        ([np.zeros(3)], "[an array (3,) of float64]"),
        (list(range(1000)), "a list of 1,000 (0, ...)"),
        ({i: i for i in range(1000)}, "a dict of 1,000 (0: 0, ...)"),
        ({"a": np.zeros(3)}, "{'a': an array (3,) of float64}"),
        (Conv, "the class Conv"),
        (nested, "the function nested"),
        (np, "the module numpy"),
        (MaxPool(2), "MaxPool(kernel=2, stride=None, padding=0, ceil=False, dilation=1)"),
        (Talkative(), "Talkative(words='" + "word " * 12 + "wor..."),
        (Unwritable(), "an Unwritable"),
        (object(), "an object"),
        (identity(4), "TiedMatrix 4 x 4: 4 nonzeros share 1 weight"),
        (ValueError(), "ValueError"),
        (ValueError("one\n  two"), "ValueError: one two"),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) < 90 else type(value).__name__,
)
def test_what_a_message_shows_of_a_value(value, text):
    assert brief(value) == text


def test_what_holds_itself_and_what_lies_deep_ends():
    endless = []
    endless.append(endless)
    for value in (endless, nested(200)):
        assert len(brief(value)) < 80


def test_a_tensor_is_shown_by_kind_and_shape():
    torch = pytest.importorskip("torch")
    assert brief(torch.zeros(30, 40)) == "a Tensor (30, 40) of torch.float32"


@pytest.mark.parametrize("error", [ValueError("x " * 1000), ValueError("one\ntwo"), KeyError()])
def test_a_strangers_error_is_one_short_line(error):
    with (
        pytest.raises(PluginError, match=f"^mine: expected a number, got {type(error).__name__}") as caught,
        blamed("mine", "a number"),
    ):
        raise error
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def sources():
    return sorted(
        path
        for package in (simulator, simulator_plugins)
        for path in Path(package.__path__[0]).rglob("*.py")
        if path.name != "new_plugin.py"  # it holds the text of a stranger's plugin
    )


def test_no_message_shows_a_value_as_python_writes_it():
    """A new message with {value!r} in it would print whole arrays: {brief(value)} does not."""
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            texts = ()
            if isinstance(node, ast.Raise) and node.exc is not None and "AttributeError" not in ast.dump(node.exc):
                texts = [n for n in ast.walk(node.exc) if isinstance(n, ast.JoinedStr)]
            elif isinstance(node, ast.JoinedStr):
                plain = (part.value for part in node.values if isinstance(part, ast.Constant))
                texts = [node] if any(" got " in text for text in plain) else ()
            parts = (part for text in texts for part in text.values if isinstance(part, ast.FormattedValue))
            found += [f"{path.name}:{part.lineno}" for part in parts if part.conversion == ord("r")]
    assert len(sources()) > 100
    assert not found


def test_a_message_lists_some_names_only():
    told = nearest("zzz", [f"n{i:03}" for i in range(1200)])
    assert told.startswith("choose one of: n000, n001, ")
    assert told.endswith(", n048, n049 and 1,150 more")


def test_every_error_says_who_what_was_expected_what_came_and_what_to_do():
    """Of errors whose message is written in the raise; what is put into it there is ``{}``."""
    kinds = {"FileError", "NotInstalledError", "PluginError", "ShapeError", "SimulatorError", "UnknownNameError"}
    passed_on = {  # what another error says, with a word before or after it
        "{}: {}",
        "{} {}: {}",
        "{}: {}: {}",
        "load {}: {}",
        "{} (after {}): {}",
        "simulator {}: expected {}",
        "{}; use data of that shape{}",
        "{} (nor can the folder for temporary files be written to)",
        "{}; the trained network is safe in {}: move it from there",
    }
    found, seen = [], 0
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in kinds or not call.args:
                continue
            if not isinstance(call.args[0], (ast.JoinedStr, ast.Constant)):
                continue
            parts = call.args[0].values if isinstance(call.args[0], ast.JoinedStr) else [call.args[0]]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            seen += 1
            if text not in passed_on and not re.fullmatch(r"[^;]*expected .*(, got|, but) .*(; .*[^.]|\{\})", text):
                found.append(f"{path.name}:{node.lineno}: {text}")
    assert seen > 300
    assert not found, "\n".join(found)
