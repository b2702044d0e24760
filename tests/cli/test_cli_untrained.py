"""Random weights look like results: text, JSON and titles of figures say that a network is untrained."""

import json

import pytest

from simulator import Catalog, load, save
from simulator.cli import main
from simulator.cli.common import save_figure, title_of
from simulator.files import Saved

NET = ["--input", "1x12x12", "-o", "width=0.3"]
XO = ["--data", "xo"]
PHRASE = "untrained: random weights"
COMMANDS = {
    "unit": ["unit", "lenet5", "conv1[0, 1, 1]", *NET, *XO],
    "weight": ["weight", "lenet5", "conv1.bias[0]", *NET, *XO],
    "effect": ["effect", "lenet5", "--ablate", "conv1[0]", *NET, *XO],
    "ablate": ["ablate", "lenet5", "relu2", "--samples", "30", *NET, *XO],
    "respond": ["respond", "lenet5", "conv1[0]", "--steps", "2", *NET, *XO],
    "affine": ["affine", "lenet5", *NET, *XO],
    "sharing": ["sharing", "lenet5", "--untie", *NET, *XO],
    "equivalence": ["equivalence", "lenet5", *NET],
    "describe": ["describe", "lenet5", "--weights", *NET],
}
FIGURES = {
    "unit": [*COMMANDS["unit"], "--output", "a.svg"],
    "ablate": [*COMMANDS["ablate"], "--output", "a.svg"],
    "respond": [*COMMANDS["respond"], "--output", "a.svg"],
    "affine": [*COMMANDS["affine"], "--output", "a.svg"],
    "graph": ["graph", "lenet5", "conv1[0, 1, 1]", "--sample", "0", "--output", "a.svg", *NET, *XO],
    **{
        what: ["draw", "lenet5", "conv1", "--what", what, "--output", "a.svg", *NET, *XO]
        for what in ("matrix", "kernel", "activations")
    },
}


@pytest.fixture
def said(monkeypatch, tmp_path, capsys):
    """What a command prints; it runs in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def say(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        assert end.value.code in (0, None)
        return capsys.readouterr().out

    return say


@pytest.fixture
def trained(tmp_path):
    """A file whose weights are known to be no first ones: it does not say that they are."""
    network = Catalog().build("lenet5", (1, 12, 12), rng=1, width=0.3)
    save(tmp_path / "net.safetensors", network, info={"architecture": "lenet5"})
    return str(tmp_path / "net.safetensors")


def of_file(arguments, path):
    """The same command of a saved network."""
    left = [a for a in arguments if a not in NET]
    return [path if a == "lenet5" else a for a in left]


@pytest.mark.parametrize("name", COMMANDS)
def test_text_and_json_say_so_and_do_not_of_a_trained_file(said, trained, name):
    arguments = COMMANDS[name]
    title = said(*arguments).splitlines()[0]
    assert f"lenet5 ({PHRASE})" in title
    assert json.loads(said(*arguments, "--json"))["untrained"] is True
    assert PHRASE not in said(*of_file(arguments, trained))
    assert json.loads(said(*of_file(arguments, trained), "--json"))["untrained"] is False


@pytest.mark.parametrize("name", FIGURES)
def test_titles_of_figures_say_so(said, trained, tmp_path, monkeypatch, name):
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    arguments = FIGURES[name]
    said(*arguments)
    assert PHRASE in (tmp_path / "a.svg").read_text()
    said(*of_file(arguments, trained))
    assert PHRASE not in (tmp_path / "a.svg").read_text()


def test_without_weights_nothing_is_said(said):
    assert PHRASE not in said("describe", "lenet5")
    assert PHRASE not in said("unit", "lenet5", "conv1[0, 1, 1]", "--field", *NET)
    assert PHRASE not in said("weight", "lenet5", "conv1.bias[0]", "--uses", *NET)


def test_a_file_saved_without_training_is_untrained_until_it_is_trained(said, tmp_path):
    said("sharing", "lenet5", "--untie", *NET, *XO, "--save", "loose.safetensors")
    assert load(tmp_path / "loose.safetensors").untrained
    for command in (["evaluate"], ["predict"]):
        assert f"loose.safetensors ({PHRASE}) on" in said(*command, "loose.safetensors", *XO)
        assert json.loads(said(*command, "loose.safetensors", *XO, "--json"))["untrained"] is True
    assert f"loose.safetensors ({PHRASE}), loose" in said("evaluate", *["loose.safetensors"] * 2, *XO)
    said("train", "loose.safetensors", *XO, "--epochs", 1, "--no-proof", "--save", "net.safetensors")
    assert not load(tmp_path / "net.safetensors").untrained
    assert PHRASE not in said("evaluate", "net.safetensors")


def test_a_figure_without_a_title_gets_one(tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    network = Catalog().build("lenet5", (1, 12, 12), rng=0, width=0.3)
    figure = figures.Figure()
    save_figure(figure, tmp_path / "a.png", title_of("lenet5", Saved(network, {"untrained": True})))
    assert figure.get_suptitle() == f"lenet5 ({PHRASE})"
    figure.suptitle("it")
    save_figure(figure, tmp_path / "a.png", title_of("net.safetensors", Saved(network, {})))
    assert figure.get_suptitle() == "it\nnet.safetensors"
