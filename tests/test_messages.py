"""Whatever a public function is given: what it says about it is one short line without arrays and addresses."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import simulator
from simulator import Conv, CrossEntropy, Dataset, Dense, Layer, Network, ReLU, SimulatorError, lab

NETWORK = Network.sequential((1, 6, 6), [Conv(2, kernel=3), ReLU(), Dense(3)], rng=0)
X = np.random.default_rng(0).standard_normal((4, 1, 6, 6))
DATA = Dataset(X, np.array([0, 1, 2, 0]), classes=("a", "b", "c"))
PLAIN = {
    "network": NETWORK, "networks": [NETWORK], "before": NETWORK, "after": NETWORK, "loose": NETWORK, "tied": NETWORK,
    "data": DATA, "dataset": DATA, "inputs": X, "x": X[0], "samples": X, "targets": DATA.labels, "labels": DATA.labels,
    "layer": "conv1", "unit": "conv1[0, 0, 0]", "units": "conv1[0]", "target": "dense1[0]", "source": "conv1[0, 0, 0]",
    "weight": "conv1.weight[0, 0, 0, 0]", "address": "conv1[0]", "addresses": ["conv1[0]"], "ablate": ["conv1[0]"],
    "loss": CrossEntropy(), "other": X[1], "a": X[0], "b": X[1], "shape": (1, 6, 6), "input_shape": (1, 6, 6),
    "kernel": 3, "rate": 0.1, "out_channels": 2, "out": 2, "n": 3, "name": "lenet5", "value": 0.5, "classes": 3,
}  # fmt: skip


LEFT_OUT = {
    ("identity", "dtype"),  # numpy itself cannot say what is wrong with a huge number
    ("one_hot", "dtype"),
    ("check_image", "least"),  # told by architectures, not by people
    ("lab.preferred_input", "steps"),  # a huge number of steps is one
}


class Stranger:
    """What a message must not show by its address in memory."""


ODD = {
    "an array": np.zeros((30, 40)),
    "a vector of text": np.array(["word"] * 99),
    "rows of rows": [[0.5] * 30] * 30,
    "a ragged list": [[1], [2, 3], "x"],
    "a huge number": 10**5000,
    "a negative number": -3,
    "a number": 2.5,
    "nan": float("nan"),
    "a long text": "x" * 5000,
    "two lines": "one\ntwo",
    "nothing": None,
    "arrays by name": {"a" * 500: np.zeros((20, 20))},
    "a stranger": Stranger(),
    "a function": lambda: 0,
    "a class": Stranger,
    "a network": NETWORK,
}


def flaws(call):
    """What is wrong with the message, if the call is answered by one."""
    try:
        with np.errstate(all="ignore"):
            found = call()
            if inspect.isgenerator(found):
                next(found, None)
    except SimulatorError as error:
        text = str(error)
        wrong = {"two lines": "\n", "an address": " at 0x", "an array": "array(", "rows": "[["}
        return [what for what, part in wrong.items() if part in text] + ["length"] * (len(text) > 400), text
    except Exception as error:  # other kinds of misuse are for other tests
        return (["digits"] if "Exceeds the limit" in str(error) else []), str(error)
    return [], ""


def public():
    names = {name: getattr(simulator, name) for name in simulator.__all__}
    names |= {f"lab.{name}": getattr(lab, name) for name in lab.__all__}
    methods = ("add", "run", "predict", "probe", "node", "subnetwork", "receptive_field", "projective_field")
    methods += ("matrix_row", "with_params", "with_buffers", "with_dtype", "with_engine", "input", "chain")
    names |= {f"Network.{name}": getattr(NETWORK, name) for name in methods}
    names.pop("load", None), names.pop("save", None)  # they take paths: see the tests of files
    return {
        name: call for name, call in names.items() if callable(call) and not name.endswith(("write_graph", "Error"))
    }


def arguments(call):
    """Names of the arguments, and a usual value for each that has no default."""
    parameters = inspect.signature(call).parameters.values()
    usual = {p.name: PLAIN.get(p.name) for p in parameters if p.default is p.empty and p.kind != p.VAR_KEYWORD}
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)], usual


@pytest.mark.parametrize("name", public())
def test_messages_are_one_short_line(name):
    call, wrong = public()[name], []
    try:
        names, usual = arguments(call)
    except ValueError:  # no signature: an ordinary class of Python
        return
    usual = {key: value for key, value in usual.items() if key in names}
    for argument in names:
        if (name, argument) in LEFT_OUT or argument == "who":
            continue
        for kind, value in ODD.items():
            given = {**usual, argument: value}

            def used(given=given):
                made = call(**given)
                if isinstance(made, Layer):
                    NETWORK.add(made, "relu1")
                return made

            found, text = flaws(used)
            if found:
                wrong.append((argument, kind, found, text[:300]))
    assert not wrong
