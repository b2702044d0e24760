"""Options are what their annotations say: in Python, on the command line, and in files."""

import dataclasses
import math
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import numpy as np
import pytest
from click.testing import CliRunner

from simulator import Catalog, Chain, Clipped, FunctionLayer, RandomCrop, RandomMirror, RandomShift, ShapeError
from simulator.cli import cli
from simulator.declared import Declared, Option, options_of
from simulator.layers import Conv, Dense, MaxPool
from simulator.optimizers import SGD
from simulator.schedules import CosineDecay, StepDecay, WarmUp

CATALOG = Catalog()

VALUES = {
    "text": "x",
    "true": True,
    "integer": 3,
    "number": 2.5,
    "nan": math.nan,
    "none": None,
    "integers": [1, 2],
    "pairs": [(1, 2)],
    "texts": ["x"],
    "dict": {},
    "bytes": b"x",
    "array": np.ones(3),
    "object": object(),
}
TAKES = {  # which of them an atom of an annotation takes; a sequence of integers within a sequence is a pair
    "bool": {"true"},
    "int": {"integer"},
    "float": {"integer", "number"},
    "str": {"text"},
    "None": {"none"},
    "Sequence[int]": {"integers"},
    "tuple[int, ...]": {"integers"},
    "Sequence[int | Sequence[int]]": {"integers", "pairs"},
    "Sequence[Sequence[int]]": {"pairs"},
    "Sequence[str]": {"texts"},
    "tuple[float, float]": {"integers"},
    "Sequence[float]": {"integers"},
}


def atoms(declared):
    """The parts of an annotation as texts; what is not in the table takes none of the values."""
    if getattr(declared, "__metadata__", None):
        declared = declared.__origin__
    parts = declared.__args__ if isinstance(declared, types.UnionType) or "Union" in str(declared)[:13] else (declared,)
    names = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "str",
        type(None): "None",
        Sequence[int]: "Sequence[int]",
        tuple[int, ...]: "tuple[int, ...]",
        Sequence[int | Sequence[int]]: "Sequence[int | Sequence[int]]",
        Sequence[Sequence[int]]: "Sequence[Sequence[int]]",
        Sequence[str]: "Sequence[str]",
        tuple[float, float]: "tuple[float, float]",
        Sequence[float]: "Sequence[float]",
    }
    return [names.get(part) for part in parts]


def classes():
    """Every dataclass that is offered, with one object of it."""
    for kind in ("layers", "losses", "optimizers", "experiments"):
        for name, entry in getattr(CATALOG, kind).entries.items():
            example = next(iter(entry.examples), None)
            made = example[0] if isinstance(example, tuple) else example
            if made is None:
                given = {
                    o.name: o.example for o in options_of(entry.object).values() if o.default is o.default.__class__
                }
                required = [o for o in options_of(entry.object).values() if o.default is Option("", Any).default]
                given = {o.name: o.example for o in required}
                made = entry.object(**given)
            yield f"{kind} {name}", made
    for made in (CosineDecay(0.1, 5), StepDecay(0.1, 5), WarmUp(0.1, 5), RandomCrop(3), RandomShift(1), RandomMirror()):
        yield type(made).__name__, made
    yield "Chain", Chain([RandomMirror()])


OFFERS = dict(classes())


@pytest.mark.parametrize("offer", OFFERS)
def test_every_option_is_checked_by_its_declared_type_and_the_cure_works(offer):
    made = OFFERS[offer]
    assert isinstance(made, Declared) or not options_of(type(made))
    for option in options_of(type(made)).values():
        assert option.declared is not Any, f"{offer} {option.name} is not annotated"
        taken = set().union(*(TAKES.get(atom, ()) for atom in atoms(option.declared)))
        for kind in VALUES.keys() - taken:
            with pytest.raises(ShapeError, match=rf"{option.name}: expected [^;]*, got [^;]*; \S") as error:
                dataclasses.replace(made, **{option.name: VALUES[kind]})
            message = str(error.value)
            assert "\n" not in message
            assert len(message) < 300
            cure = message.rpartition("; write for example ")[2]
            if cure != message:
                dataclasses.replace(made, **eval(f"dict({cure})"))


@pytest.mark.parametrize("name", CATALOG.architectures)
def test_every_option_of_an_architecture_is_checked_before_anything_is_built(name):
    for option in options_of(CATALOG.architectures[name]).values():
        if option.name in ("make", "input_shape", "classes", "rng"):
            continue
        assert option.declared is not Any, f"{name} {option.name} is not annotated"
        taken = set().union(*(TAKES.get(atom, ()) for atom in atoms(option.declared)))
        for kind in VALUES.keys() - taken:
            with pytest.raises(
                ShapeError, match=f"^{name} {option.name}: expected [^;]*, got [^;]*; write for"
            ) as error:
                CATALOG.build(name, rng=None, **{option.name: VALUES[kind]})
        cure = str(error.value).rpartition("; write for example ")[2]
        CATALOG.build(name, rng=None, **eval(f"dict({cure})"))


def test_each_option_of_clipped_is_checked():
    for option in ("norm", "value"):
        with pytest.raises(
            ShapeError, match=f"Clipped {option}: expected a number or None, got 'x'; write for"
        ) as error:
            Clipped(SGD(), **{option: "x"})
        Clipped(SGD(), **eval(f"dict({str(error.value).rpartition('example ')[2]})"))
    with pytest.raises(ShapeError, match="Clipped optimizer: expected an Optimizer, got 'sgd'; write ") as error:
        Clipped("sgd", norm=1)
    assert eval(str(error.value).rpartition("write ")[2]) == Clipped(SGD(0.1), norm=1)


def test_numbers_of_numpy_are_stored_as_those_of_python():
    layer = Conv(np.int64(6), [np.int32(3), 5], pad_value=np.float32(0.5), flip=np.True_)
    assert repr(layer) == repr(Conv(6, [3, 5], pad_value=0.5, flip=True))
    assert type(layer.flip) is bool
    kernel = (3, 5)
    assert Conv(6, kernel).kernel is kernel  # what is right is stored as it comes


@dataclass(frozen=True)
class Stranger(FunctionLayer):
    """A layer of somebody else, with a check of its own that relies on the type."""

    size: int
    mode: Literal["a", "b"] = "a"
    anything: "NotToBeFound" = None  # noqa: F821

    def __post_init__(self):
        if self.size % 2:
            raise ShapeError("stranger: expected an even size, got an odd one; add 1")

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return xs[0], lambda dy: ((dy,), {}), {}


def test_layers_of_strangers_are_checked_before_their_own_checks():
    assert Stranger(2, anything=object()).size == 2
    with pytest.raises(ShapeError, match="stranger: expected an even size"):
        Stranger(3)
    with pytest.raises(ShapeError, match="Stranger size: expected an integer, got 'x'; write for example size=2"):
        Stranger("x")
    with pytest.raises(ShapeError, match="Stranger mode: expected 'a' or 'b', got 'c'; write for example mode='a'"):
        Stranger(2, mode="c")


def test_a_class_without_an_example_says_what_to_give():
    with pytest.raises(ShapeError, match="who engine: expected a Conv, got 3; give a Conv"):
        Option("engine", Conv).checked(3, "who")
    with pytest.raises(ShapeError, match="who engine: expected a Conv, got 3; write conv"):
        Option("engine", Annotated[Conv, "write conv"]).checked(3, "who")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 100, "'xxxx"),
        (list(range(100)), "a list of 100"),
        (np.ones((100, 100)), "an array"),
        (Dense, "the class Dense"),
    ],
)
def test_messages_hold_no_dump(value, shown):
    with pytest.raises(ShapeError, match=f"MaxPool ceil: expected True or False, got {shown}"):
        MaxPool(2, ceil=value)


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        *((bool, text, True) for text in ("true", "True", "yes", "on", "1")),
        *((bool, text, False) for text in ("false", "False", "no", "OFF", "0")),
        (int, "3", 3),
        (int | None, "none", None),
        (float, "1e-3", 0.001),
        (float, "2", 2.0),
        (str, "2", "2"),
        (str, "'2'", "2"),
        (str, "no", "no"),
        (Literal["A", "B"], "B", "B"),
        (Literal[1, 2], "2", 2),
        (bool | Literal["unit"], "unit", "unit"),
        (bool | Literal["unit"], "off", False),
        (Sequence[int], "2,3", (2, 3)),
        (Sequence[int], "(2, 3)", (2, 3)),
        (Sequence[int], "[2]", (2,)),
        (Sequence[int], "2", (2,)),
        (tuple[float, float], ".8,.9", (0.8, 0.9)),
        (int | Sequence[int], "3", 3),
        (int | Sequence[int | Sequence[int]], "(1,2),(3,4)", ((1, 2), (3, 4))),
        (Union[int, str], "x", "x"),  # noqa: UP007 - the older way to write it
        (Any, "(1, 'a')", (1, "a")),
        (Any, "some text", "some text"),
    ],
)
def test_texts_are_parsed_by_the_declared_type(declared, text, value):
    parsed = Option("o", declared).parsed(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("declared", "text", "message"),
    [
        (bool, "maybe", "expected True or False, got 'maybe'; write for example -o o=true"),
        (bool, "2", "expected True or False, got '2'; write"),
        (int, "2.5", "expected an integer, got '2.5'; write for example -o o=2"),
        (int, "true", "expected an integer, got 'true'"),
        (float, "x", "expected a number, got 'x'; write for example -o o=0.5"),
        (float, "nan", "expected a number, got 'nan'"),
        (Sequence[int], "2,x", "expected a sequence of integers, got '2,x'; write for example -o o=2,2"),
        (Literal["A", "B"], "C", "expected 'A' or 'B', got 'C'; write for example -o o=A"),
        (float, "1" * 5000 + "x", "expected a number, got '1111"),
        (int, "1" * 5000, "expected an integer, got '1111"),
    ],
)
def test_what_does_not_parse_is_refused_with_the_type_and_an_example(declared, text, message):
    option = Option("o", declared)
    with pytest.raises(ShapeError, match=f"^-o o: {message}") as error:
        option.parsed(text)
    cure = str(error.value).rpartition("-o o=")[2]
    option.parsed(cure)


def test_without_a_declared_type_the_default_says_what_a_text_is():
    def net(make, *, wide=1, rate=0.5, aux=False, norm="batch", depths=(1, 2), anything=None): ...

    options = options_of(net)
    given = {"wide": "0.25", "rate": "1", "aux": "off", "norm": "3", "depths": "3,4", "anything": "{'a': 1}"}
    assert {name: options[name].parsed(text) for name, text in given.items()} == {
        "wide": 0.25,
        "rate": 1,
        "aux": False,
        "norm": "3",
        "depths": (3, 4),
        "anything": {"a": 1},
    }
    with pytest.raises(ShapeError, match="-o aux: expected True or False, got 'x'; write for example -o aux=false"):
        options["aux"].parsed("x")


def test_what_stands_in_a_file_is_read_by_the_declared_type():
    options = options_of(Conv)
    assert options["kernel"].read([3, 5], "conv") == (3, 5)
    assert options["padding"].read([[1, 2], [3, 4]], "conv") == ((1, 2), (3, 4))
    assert options["flip"].read(1, "conv") is True  # as older files may have it
    assert options["bias"].read(0, "conv") is False
    with pytest.raises(ShapeError, match="conv kernel: expected an integer or a sequence of integers, got 'x'"):
        options["kernel"].read("x", "conv")


# ------------------------------------------------------------------------------------------------- on the command line


def simulator(*arguments):
    return CliRunner().invoke(cli, arguments)


def described(*options):
    result = simulator(
        "describe", "googlenet", "--input", "1x32x32", "--no-weights", "--json", "-o", "width=0.1", *options
    )
    assert result.exit_code == 0, result.output
    return "aux1-classifier" in result.output


@pytest.mark.parametrize(("text", "on"), [("true", True), ("yes", True), ("1", True), ("false", False), ("no", False)])
def test_a_switch_of_an_architecture_is_what_was_typed(text, on):
    assert described("-o", f"aux={text}") is on


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("describe", "googlenet", "-o", "aux=maybe"),
            "-o aux: expected True or False, got 'maybe'; write",
        ),
        (
            ("describe", "lenet5", "-o", "width=wide"),
            "-o width: expected a number, got 'wide'; write",
        ),
        (("describe", "googlenet", "-o", "auxx=1"), "googlenet: expected one of its options, got 'auxx'; did you mean"),
        (
            ("describe", "lenet5", "-o", "classes=3"),
            "-o classes: expected an option of lenet5 itself, got classes",
        ),
        (("experiment", "depth", "-o", "depths=20,x"), "-o depths: expected a sequence of integers, got '20,x'; write"),
        (
            ("experiment", "depth", "-o", "depth=20"),
            "experiment depth: expected one of its options, got 'depth'",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(command, message):
    result = simulator(*command)
    assert result.exit_code in (1, 2)
    assert message in str(result.exception) + result.output
