"""Names with terminal escapes, ends of lines and changes of direction come out as text, everywhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from rich.console import Console

from simulator import Conv, Dense, Network, ReLU, ShapeError, save
from simulator.cli.terminal import escaped_output, wants_colour
from simulator.errors import shown
from simulator.lab import layer_graph, write_graph

EVIL = "\x1b[31mred\x1b]0;title\x07\u202egnp.exe\u2066\r\n"
NODE = "\x1b7\x07\u202egnp\u2066\r\n"  # names of nodes have neither dots nor brackets
TAME = r"\x1b[31mred\x1b]0;title\x07\u202egnp.exe\u2066\r\n"


def harmless(text):
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EVIL, TAME),
        ("Ä cat, 猫, 🐈", "Ä cat, 猫, 🐈"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner that Persian needs
        ("\udcff\x9b\u2028\x00", r"\udcff\x9b\u2028\x00"),
    ],
)
def test_text_is_shown(text, expected):
    assert shown(text) == expected


@pytest.fixture
def hostile(folder):
    """A network and data whose names all are hostile."""
    x = np.random.default_rng(0).random((6, 1, 4, 4)).astype("f")
    np.savez("data.npz", x=x, y=np.arange(6) % 2, classes=np.array([EVIL, "b" + EVIL + "b"]))
    net = Network.input((1, 4, 4)).add(Conv(1, 3), name=f"a{NODE}a", rng=0).add(ReLU(), name=f"r{NODE}r")
    net = net.add(Dense(2), name=f"d{NODE}d", rng=1)
    info = {"classes": [EVIL, "b" + EVIL + "b"], "settings": {"data": "data.npz", "net": EVIL}}
    save("net", net, info=info)
    return "net"


@pytest.mark.parametrize(
    "command",
    [
        ["describe", "net"],
        ["equivalence", "net"],
        ["evaluate", "net", "--all"],
        ["predict", "net", "--all"],
        ["draw", "net", "nobody"],
        ["draw", "net", f"a{NODE}a", "--what", "activations", "--output", "x.png"],
        ["unit", "net", "nobody[0]"],
        ["effect", "net", "--ablate", f"a{NODE}a[0]", "--data", "data.npz"],
        ["ablate", "net", f"r{NODE}r", "--data", "data.npz"],
        ["graph", "net", "--output", "g.png"],
        ["train", EVIL],
        [EVIL],
        ["evaluate", f"{EVIL}.safetensors"],
    ],
    ids=lambda command: command[0].strip() if command[0].isprintable() else "unknown",
)
def test_every_command_shows_it_as_text(run, hostile, command):
    result = run(*command)
    assert harmless(result.out)
    assert harmless(result.err)


def test_tables_show_it_as_text_and_json_keeps_it(run, hostile):
    assert TAME in run("evaluate", hostile, "--all").out
    assert TAME in run("predict", hostile, "--all").out
    assert json.loads(run("evaluate", hostile, "--all", "--json").out)["classes"][0] == EVIL
    assert r"\x1b7\x07\u202egnp\u2066" in run("describe", hostile).out


def test_a_plugin_with_such_a_name_is_shown_as_text(run, hostile):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(hostile, framework="np") as file:
        content = json.loads(file.metadata()["simulator"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    content["nodes"][1]["plugin"] = EVIL
    save_file(arrays, hostile, {"simulator": json.dumps(content)})
    result = run("describe", hostile)
    assert result.status == 2
    assert harmless(result.err)
    assert r"\x1b[31mred" in result.err


def test_rich_may_steer_the_terminal(monkeypatch):
    below = io.StringIO()
    monkeypatch.setattr(sys, "stderr", below)
    with escaped_output():
        sys.stderr.write("\x1b[1m\n")
        Console(stderr=True, force_terminal=True, color_system="standard").print("[bold]x[/]")
        assert sys.stderr.isatty() is False
    assert below.getvalue() == "\\x1b[1m\n\x1b[1mx\x1b[0m\n"
    assert sys.stderr is below


@pytest.mark.parametrize("ending", ["graphml", "gexf"])
def test_graphs_hold_only_what_can_be_read_again(tmp_path, hostile, ending):
    from simulator import load

    path = tmp_path / f"g.{ending}"
    with pytest.raises(ShapeError, match=r"write_graph: expected names and text that XML can hold, got .*; rename it"):
        write_graph(layer_graph(load(hostile).network), path)
    assert not path.exists()
    graph = nx.DiGraph()
    graph.add_edge("a", "b", word="\ud800")
    with pytest.raises(ShapeError, match="expected names and text that XML can hold"):
        write_graph(graph, path)
    graph.edges["a", "b"]["word"] = "ä\u202e🐈"
    write_graph(nx.relabel_nodes(graph, {"a": "<&\"'>"}), path)
    back = nx.read_graphml(path) if ending == "graphml" else nx.read_gexf(path)
    assert set(back) == {"<&\"'>", "b"}


EACH = """
import json, sys
from simulator.cli import main
for args in json.loads(sys.argv[1]):
    print("<<<", " ".join(args), ">>>", flush=True)
    try:
        main(args)
    except SystemExit as end:
        assert end.code in (0, 1), end.code
    sys.stderr.flush()
"""


def each(commands):
    """The Python command that runs these, one after the other, with a line before what each writes."""
    return [sys.executable, "-c", EACH, json.dumps(commands)]


def on_a_terminal(commands, **environment):
    """What commands write to a terminal, on both streams, by the command."""
    here, there = os.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    environment = {**kept, "TERM": "xterm-256color", **environment}
    with subprocess.Popen(each(commands), stdin=there, stdout=there, stderr=there, env=environment) as process:
        os.close(there)
        seen = b""
        while True:
            try:
                part = os.read(here, 65536)
            except OSError:  # Linux's end of the file
                break
            if not part:
                break
            seen += part
        assert process.wait(60) == 0, seen.decode()
    os.close(here)
    _, *parts = re.split(r"<<< (.*?) >>>", seen.decode())
    return dict(zip(parts[::2], parts[1::2], strict=True))


STYLED = [
    ("describe", "mlp"),
    ("unit", "lenet5", "conv1[0,1,1]", "--field"),
    ("check-plugin", "adagrad"),
    ("effect", "mlp", "--ablate", "dense1[0]"),
]


def test_a_terminal_gets_styles_and_not_their_codes():
    for command, seen in on_a_terminal(STYLED).items():
        assert re.search(r"\x1b\[(1|32)m", seen), command
        assert "\\x1b" not in seen


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_nobody_gets_colours_who_wants_none(environment):
    for command, seen in on_a_terminal(STYLED[1:3], **environment).items():
        assert not re.search(r"\x1b\[[\d;]*m", seen), command
        assert "\\x1b" not in seen
        if "TERM" in environment:
            assert "\x1b" not in seen


def test_a_pipe_gets_text_alone(folder):
    small = ("--data", "xo", "--input", "1x8x8")
    commands = [
        *STYLED,
        ("train", "mlp", *small, "--epochs", "2"),
        ("ablate", "mlp", "dense1", *small, "--samples", "9"),
        ("affine", "mlp", *small, "--line", "1"),
        ("bench", "mlp", "--repeat", "1", "--engine", "blas"),
        ("graph", "mlp"),
    ]
    done = subprocess.run(each(commands), capture_output=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout.decode(), done.stderr.decode()):
        assert all(c.isprintable() or c == "\n" for c in text)


def test_no_colour_means_not_empty():
    assert wants_colour({"NO_COLOR": ""})
    assert not wants_colour({"NO_COLOR": "0"})
