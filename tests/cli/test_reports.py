"""What programs read: JSON by its schemas, tables as CSV, LaTeX and Markdown; and tables on a narrow terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import click
import pytest

from simulator.cli import cli
from simulator.cli.schema import schema_of
from simulator.cli.tables import FORMATS, cell, print_table, table

CONTEXT = click.Context(cli)
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}
NET = ("lenet5", "--input", "1x12x12", "-o", "width=0.3")
XO = ("--data", "xo")

TABLES = {  # a small run of every command that prints tables; FILE is a trained network
    "train": [*NET, *XO, "--epochs", "1", "--lr", "0.01"],
    "evaluate": ["FILE"],
    "predict": ["FILE"],
    "describe": [*NET],
    "equivalence": [*NET],
    "plugins": ["losses"],
    "unit": [*NET, "conv2[1, 1, 1]", *XO],
    "weight": [*NET, "conv1.weight[0, 0, 2, 1]", *XO],
    "effect": [*NET, *XO, "--ablate", "conv1[1]"],
    "ablate": ["FILE", "conv1", "--samples", "20"],
    "respond": [*NET, "conv2[1]", *XO, "--steps", "2"],
    "affine": [*NET, *XO],
    "sharing": [*NET, *XO, "--untie"],
    "experiment": [],
    "bench": ["mlp", "--repeat", "1", "--engine", "blas", "--batch-size", "4"],
}


@pytest.fixture
def reported(run, trained):
    """Run a command of `TABLES` with more options."""

    def reported(name, *options):
        args = [trained if arg == "FILE" else arg for arg in TABLES.get(name, ())]
        result = run(*name.split(), *args, *options)
        assert result.status == 0, result
        return result

    return reported


def test_every_command_that_prints_tables_has_formats():
    with_format = {n for n, c in COMMANDS.items() if any("--format" in p.opts for p in c.params)}
    assert with_format == set(TABLES)
    assert with_format <= {n for n, c in COMMANDS.items() if any("--json" in p.opts for p in c.params)}


MORE = [  # other ways in which these and other commands report
    "train mlp --data xo --input 1x8x8 --epochs 1 --no-proof --save net.safetensors",
    "train autoencoder --data xo --input 1x12x12 --epochs 1 --no-proof",
    "evaluate FILE --all",
    "predict FILE --wrong --all",
    "describe FILE",
    "describe mlp --weights",
    "describe conv(1,kernel=3) --input 1x8",
    "equivalence mlp --engine blas",
    "plugins",
    "unit lenet5 conv2[1,1,1] --outgoing",
    "unit lenet5 conv2[1,1,1] --field",
    "unit lenet5 relu1[0,0,0]",
    "weight lenet5 conv1.weight[0,0,2,1] --set 0",
    "weight lenet5 conv1.bias[0] --set 0 --limit 1",
    "weight lenet5 conv1.weight[0,0,2,1] --uses",
    "effect autoencoder --ablate code[0]",
    "ablate FILE relu2 --by unit --samples 20",
    "affine lenet5 --input 1x12x12 -o width=0.3 --data xo --line 3",
    "respond lenet5 relu1[0,0,0] --data xo --input 1x12x12 --steps 1",
    "sharing lenet5 --densify --layers conv1 --input 1x12x12 --data xo --save loose.safetensors",
    "graph mlp",
    "graph lenet5 conv2[3,4,5] --output unit.gexf",
    "check-plugin adagrad --in-process",
    "check-plugin bad.py --in-process",
    "check-plugin end.py",
    "bench --growth --repeat 1 --engine blas",
    "bench mlp --per-layer --memory --repeat 1 --engine blas",
    "experiment counts --quick",
    "experiment retie-identity --quick --seeds 2",
]
SLOW = ("bench --", "experiment counts", "experiment retie", "bench mlp --per")
BAD = """from simulator import Elementwise, hookimpl
from dataclasses import dataclass

@dataclass(frozen=True)
class Bad(Elementwise):
    '''Its slope is wrong.'''

    def value_and_slope(self, x):
        return x * x, x

@hookimpl
def register_layers(register):
    register("bad", Bad)
"""


def reports():
    for name in TABLES:
        yield pytest.param(name, id=name)
    for line in MORE:
        yield pytest.param(line, id=line, marks=[pytest.mark.slow] if line.startswith(SLOW) else [])


@pytest.mark.parametrize("line", list(reports()))
def test_json_is_what_its_schema_says(line, run, trained, folder):
    schemas = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    (folder / "bad.py").write_text(BAD)
    (folder / "end.py").write_text(BAD.replace("return x * x, x", "__import__('os')._exit(3)"))
    name, *args = line.split()
    words = [trained if word == "FILE" else word for word in (args or TABLES.get(line, ()))]
    result = run(name, *words, "--json")
    assert result.status == line.startswith(("check-plugin bad", "check-plugin end"))
    schema = json.loads(schema_of(COMMANDS[name]))
    schemas.validate(json.loads(result.out), schema)


def test_a_report_that_differs_from_its_schema_is_noticed(run):
    schemas = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(schema_of(COMMANDS["describe"]))
    report = json.loads(run("describe", "mlp", "--json").out)
    for change in ({"more": 1}, {"untrained": "yes"}, {"totals": {}}):
        with pytest.raises(schemas.ValidationError):
            schemas.validate({**report, **change}, schema)


@pytest.mark.parametrize("name", sorted(n for n, c in COMMANDS.items() if any("--json" in p.opts for p in c.params)))
def test_every_report_has_a_schema_that_says_what_each_value_is(name, run):
    text = run("schema", name).out
    schema = json.loads(text)
    assert schema["title"] == f"simulator {name} --json"
    if jsonschema := sys.modules.get("jsonschema"):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert name in run("schema").out.split()

    def check(part, where):
        for key, value in part.get("properties", {}).items():
            told = value.get("description") or value.get("items") or "$ref" in value
            assert told, (where, key)
            assert part["additionalProperties"] is False or "description" in part["additionalProperties"], where
        for value in part.values():
            for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
                if isinstance(inner, dict):
                    check(inner, where)

    check(schema, name)


def test_what_has_no_schema_is_refused(run):
    assert (
        "expected a command that prints JSON, got 'describ'; did you mean 'describe'"
        in run("schema", "describ").complaint
    )
    assert "expected a command that prints JSON, got 'draw'" in run("schema", "draw").complaint


def csv_tables(text):
    """The tables of a CSV output: headings and rows."""
    for part in text.removesuffix("\n").split("\n\n"):
        heading, *rows = csv.reader(io.StringIO(part))
        yield heading, rows


def latex_tables(text):
    """The tables of a LaTeX output, without its escapes."""
    signs = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<"}
    signs |= {r"\textgreater{}": ">", r"\textbar{}": "|", r"$\pm$": "±", r"$\cdot$": "·"}
    pattern = re.compile("|".join(map(re.escape, signs)) + r"|\\([&%$#_{}])")

    def plain(line):
        cells = re.split(r"(?<!\\) & |^ ?& | &$", line)
        for one in cells:
            rest = pattern.sub("", one)
            assert not re.search(r"[&%$#_{}\\~^]", rest), one  # LaTeX would act on it
        return [pattern.sub(lambda m: m[1] or signs[m[0]], one) for one in cells]

    for part in text.removesuffix("\n").split("\n\n"):
        title, begin, *lines, end = part.split("\n")
        assert title.startswith("% ")
        kinds = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}", begin)[1]
        assert end == r"\end{tabular}"
        rows = [plain(line.removesuffix(r" \\")) for line in lines if line != r"\hline"]
        assert all(line.endswith(r" \\") for line in lines if line != r"\hline")
        assert {len(row) for row in rows} == {len(kinds)}
        yield rows[0], rows[1:]


def md_tables(text):
    """The tables of a Markdown output, as a parser of Markdown reads them."""
    markdown = pytest.importorskip("markdown_it", reason="markdown-it-py, which Rich brings, is not installed")
    rows, tables = [], []
    for token in markdown.MarkdownIt().enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level > 2:
            rows[-1].append("".join(child.content for child in token.children))
        elif token.type == "table_close":
            tables.append((rows[0], rows[1:]))
            rows = []
    return tables


@pytest.mark.parametrize("name", [*TABLES, pytest.param("experiment counts --quick", marks=pytest.mark.slow)])
def test_tables_for_programs_hold_what_readers_see(name, reported):
    told = reported(name, "--format", "csv")
    tables = list(csv_tables(told.out))
    for heading, rows in tables:
        assert {len(row) for row in rows} == {len(heading)}
    seen = list(latex_tables(reported(name, "--format", "latex").out))
    markdown = md_tables(reported(name, "--format", "md").out)
    headings = [[heading for heading, _ in read] for read in (tables, seen, markdown)]
    assert headings[0] == headings[1] == headings[2]
    measured = name in ("bench", "train")  # times differ
    for (_, one), (_, other), (_, exact) in zip(seen, markdown, tables, strict=True):
        assert measured or one == other
        assert len(one) == len(exact)
        for texts, values in zip(one, exact, strict=True):
            for text, value in zip(texts, values, strict=True):
                assert measured or close(text, value), (text, value)


def close(text, value):
    """Whether what a reader sees is the value, rounded."""
    if text == value or (text in ("-", "") and value == ""):
        return True
    if text == ".":
        return value == "0"
    shown = text.split(" ± ")[0].removesuffix("x").replace(",", "")
    number = float(shown.removesuffix("%")) / (100 if shown.endswith("%") else 1)
    digits = re.sub(r"e.*|[^\d]", "", shown)
    step = abs(number) * 10.0 ** (1 - len(digits.lstrip("0") or "0")) or 10.0 ** -len(digits)
    return abs(number - float(value)) <= step


def test_csv_has_all_digits(reported):
    ((heading, rows),) = csv_tables(reported("describe", "--format", "csv").out)
    layers = json.loads(reported("describe", "--json").out)["layers"]
    density = [row[heading.index("density")] for row in rows[:-1]]
    assert density == ["" if layer["density"] is None else repr(layer["density"]) for layer in layers]
    ((heading, rows),) = csv_tables(reported("unit", "--format", "csv").out)
    connections = json.loads(reported("unit", "--json").out)["connections"]
    assert [row[4] for row in rows[: len(connections)]] == [repr(c["product"]) for c in connections]
    assert len(connections) > 10  # all of them; a reader gets the ten largest


def test_several_tables_stand_apart(reported):
    changes, probabilities = csv_tables(reported("effect", "--format", "csv").out)
    assert changes[0][:2] == ["node", "output"]
    assert probabilities[0] == ["class", "before", "after"]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_but_tables_is_printed(form, reported):
    result = reported("ablate", "--format", form)
    assert "Next" not in result.out
    assert "Next, " in result.err
    assert "\x1b" not in result.out


def test_json_and_format_exclude_each_other(run):
    for args in (["--json", "--format", "csv"], ["--format", "csv", "--json"]):
        complaint = run("describe", "mlp", *args).complaint
        assert complaint.startswith("expected one of --json and --format, got both; leave one out")


HOSTILE = [
    "a|b",
    "50% & more",
    "c_d^e~",
    "{x} \\ $y$ #1",
    "*bold* `code` <b>",
    'comma, "quote"',
    "two\nlines",
    "\x1b[31m",
]


@pytest.mark.parametrize(("form", "read"), [("csv", csv_tables), ("latex", latex_tables), ("md", md_tables)])
def test_names_are_no_markup(form, read, capsys):
    made = table("name", "ratio\nof two", left=1)
    for name in HOSTILE:
        made.add_row(name, cell(1 / 3, ".2f"))
    with click.Context(click.Command("x")) as context:
        context.meta["simulator.format"] = form
        print_table("50% of\n{all}", made)
    out = capsys.readouterr().out
    ((heading, rows),) = read(out)
    assert heading == ["name", "ratio of two"]
    plain = [name.replace("\n", "\\n").replace("\x1b", "\\x1b") for name in HOSTILE]
    assert [row[0] for row in rows] == plain
    assert {row[1] for row in rows} == {"0.3333333333333333" if form == "csv" else "0.33"}


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_fit_the_terminal(name, reported, monkeypatch):
    """What is too wide goes on below, with the first columns again; no number is cut."""
    whole = reported(name).out
    monkeypatch.setenv("COLUMNS", "80")
    narrow = reported(name).out
    lines = narrow.splitlines()
    rules = [number for number, line in enumerate(lines) if line.strip("─ ") == "" and "─" in line]
    for number in rules:
        first = next(n for n in range(number, -1, -1) if not lines[n].strip())
        last = next(n for n in range(number, len(lines)) if not lines[n].strip())
        assert all(len(line) <= 80 for line in lines[first:last])
    if name in ("describe", "sharing"):
        words = narrow.split()
        assert all(word in words for word in whole.split() if "─" not in word)
        assert len(rules) > whole.count(" ─") or name == "sharing"


def test_a_program_gets_the_headings_of_a_table_without_rows(run, trained):
    kept = run("predict", trained, "--wrong", "--format", "csv").out.splitlines()
    assert kept[0].startswith("sample,prediction,truth,probability")
    silent = next(n for n in range(5) if "value is 0" in run("unit", *NET, f"relu3[{n}]", *XO).out)
    heading = "source,weight,value,input,product\n"
    assert run("unit", *NET, f"relu3[{silent}]", *XO, "--format", "csv").out == heading
    heading = "node,output,units,changed,largest change,change of the norm\n"
    assert run("effect", *NET, *XO, "--ablate", f"relu3[{silent}]", "--format", "csv").out.startswith(heading + "\n")


def test_formats_of_what_is_no_table_are_refused(run):
    complaint = run("unit", "lenet5", "conv1[0, 1, 1]", "--field", "--format", "md").err.splitlines()[-1]
    assert "--format: expected a command that prints a table, got one that prints none; use --json" in complaint
    assert "simulator unit --help" in complaint
    assert run("unit", "lenet5", "conv1[0, 1, 1]", "--field", "--json").status == 0
