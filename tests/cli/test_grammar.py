"""One grammar for all commands: a name means one thing everywhere, and names of before still work."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import click
import pytest

from simulator.cli import cli
from simulator.cli.grammar import Renamed

CONTEXT = click.Context(cli)
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}
SMALL = ("--input", "1x12x12", "-o", "width=0.3", "--data", "xo")


def options(hidden=False):
    """(command, option, its names) for all options of all commands."""
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.hidden == hidden:
                yield name, parameter, [*parameter.opts, *parameter.secondary_opts]


def test_an_option_name_has_one_meaning_everywhere():
    meanings = defaultdict(lambda: defaultdict(list))
    for command, option, names in options():
        kind = option.type.choices if isinstance(option.type, click.Choice) else type(option.type).__name__
        meaning = str(kind), option.make_metavar(click.Context(COMMANDS[command])), option.is_flag, tuple(names)
        for name in names:
            meanings[name][meaning].append(command)
    assert len(meanings) > 40
    several = {name: dict(found) for name, found in meanings.items() if len(found) > 1}
    assert several == {}


def test_a_long_option_has_no_near_synonym():
    """Names that are so near that one is taken for the other, and names that were given up, are not used again."""
    names = {name for _, _, found in options() for name in found}
    for given_up in (
        "--figure",
        "--out",
        "--count",
        "--batch",
        "--number",
        "--top",
        "--dir",
        "--file",
        "--path",
        "--n",
    ):
        assert given_up not in names


def test_values_are_called_by_what_they_are():
    for command, option, names in options():
        if not option.is_flag:
            metavar = option.make_metavar(click.Context(COMMANDS[command]))
            assert not re.search("INTEGER|FLOAT|TEXT|PATH", metavar), (command, names, metavar)


def test_an_old_name_is_no_other_option_of_its_command():
    renamed = [(name, o) for name, o, _ in options() if isinstance(o, Renamed) and o.old]
    assert len(renamed) > 10
    for command, option in renamed:
        taken = {name for other, _, names in options() for name in names if other == command}
        assert not taken & set(option.old)


OLD = [  # as it was written, as it is written now, and the names in the note
    (["ablate", "lenet5", "relu1", *SMALL, "--samples", "9", "--rows", "2"], "--rows", "--limit"),
    (["ablate", "lenet5", "relu1", *SMALL, "--samples", "9", "--figure", "a.png"], "--figure", "--output"),
    (["affine", "lenet5", *SMALL, "--rows=1"], "--rows", "--limit"),
    (["unit", "lenet5", "dense1[3]", *SMALL, "--figure=a.png"], "--figure", "--output"),
    (["weight", "lenet5", "conv1.weight[0, 0, 2, 1]", *SMALL, "--batch", "2"], "--batch", "--samples"),
    (["respond", "lenet5", "conv2[1]", *SMALL, "--count", "2", "--steps", "1"], "--count", "--limit"),
    (["experiment", "retie-identity", "--quick", "--seeds", "1", "--out", "here"], "--out", "--folder"),
    (["bench", "mlp", "--batch", "2", "--repeat", "1", "--engine", "blas"], "--batch", "--batch-size"),
    (["bench", "mlp", "--layers", "--repeat", "1", "--engine", "blas"], "--layers", "--per-layer"),
]


@pytest.mark.parametrize(
    ("args", "old", "new"), OLD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_an_old_name_works_and_says_the_new_one(args, old, new, run):
    result = run(*args)
    assert result.status == 0, result
    assert result.err.splitlines()[0] == f"Note: {old} is called {new} now."
    assert f" {old}" not in result.out.replace("--batch-size", "")  # nor does any command that is printed
    now = run(*[re.sub(rf"^{old}(?=$|=)", new, word) for word in args])
    assert now.status == 0
    assert "is called" not in now.err


def test_an_old_name_leaves_json_alone(run):
    result = run("unit", "lenet5", "dense1[3]", *SMALL, "--rows", "2", "--json")
    assert len(json.loads(result.out)["connections"]) == 2
    assert result.err.splitlines() == ["Note: --rows is called --limit now."]


def test_predict_lists_so_many(run, trained):
    old = run("predict", trained, "--samples", "3")
    assert old.err.splitlines()[0] == "Note: --samples is called --limit now."
    assert old.out == run("predict", trained, "--limit", "3").out
    listed = {
        n: len(json.loads(run("predict", trained, "--json", *n).out)["predictions"]) for n in ((), ("--limit", 3))
    }
    assert listed == {(): 200, ("--limit", 3): 3}  # a program reads all of them


def test_rows_of_a_matrix_are_still_called_rows(run):
    assert run("draw", "lenet5", "conv1", "--rows", "0:8", *SMALL[:4]).err == ""


QUOTES = [  # the words as a shell hands them over, and how they are written
    ("unit lenet5 conv2[3, 4, 5]", "unit lenet5 'conv2[3, 4, 5]'"),
    ("unit lenet5 conv2[3, 1, 1] --input 1x16x16", "unit lenet5 'conv2[3, 1, 1]' --input 1x16x16"),
    ("weight lenet5 conv1.weight[0, 0, 2, 1]", "weight lenet5 'conv1.weight[0, 0, 2, 1]'"),
    ("effect lenet5 --clamp=conv2[3, 4, 5]=0.5", "effect lenet5 '--clamp=conv2[3, 4, 5]=0.5'"),
    (
        "effect lenet5 --ablate conv1[:, 2, 3] --patch conv2[3, 1, 1]=7",
        "effect lenet5 --ablate 'conv1[:, 2, 3]' --patch 'conv2[3, 1, 1]=7'",
    ),
]


@pytest.mark.parametrize(("typed", "cure"), QUOTES)
def test_an_address_without_quotes_is_answered_with_the_quoted_command(typed, cure, run, follow):
    complaint = run(*typed.split()).complaint
    assert complaint == f"expected an address in one word, got several; put it in quotes: simulator {cure}"
    follow(complaint)


def test_what_is_no_address_is_left_alone(run):
    assert "unexpected extra argument" in run("unit", "lenet5", "conv2[3", "and", "4]").complaint
    assert "simulator -p bad.py unit" in run("-p", "bad.py", "unit", "lenet5", "conv2[3,", "4]").complaint


def test_what_is_wrong_with_words_names_the_help_of_their_command(run):
    for args, told in (
        (["unit", "lenet5", "--sample"], "Option '--sample' requires an argument."),
        (["unit", "lenet5", "--sample", "x"], "Invalid value for '--sample'"),
        (["unit"], "Missing argument 'NET'."),
        (["unit", "lenet5", "a", "b"], "Got unexpected extra argument (b)"),
        (["unit", "lenet5", "--smple", "3"], "Did you mean '--sample'"),
        (["unit", "lenet5", "conv1[0]", "--of", "x"], "--of: expected --field with it"),
    ):
        complaint = run(*args).complaint
        assert told in complaint
        assert complaint.endswith("(see 'simulator unit --help')")
    assert run("-p").complaint.endswith("(see 'simulator --help')")


MISSPELT = [  # and what was meant
    ("drw lenet5", "did you mean 'draw'?"),
    ("train --epoch 3", "Did you mean '--epochs'?"),
    ("describe lenet", "did you mean 'lenet5'"),
    ("describe lenet5 -o widht=2", "did you mean 'width'?"),
    ("train mlp --data digts --engine blas", "did you mean 'digits'?"),
    ("train mlp --optimizer adm --data xo --engine blas", "did you mean 'adam'"),
    ("train mlp --loss hing --data xo --engine blas", "did you mean 'hinge'?"),
    ("train mlp --engine bla", "did you mean 'blas'?"),
    ("draw lenet5 cnv1", "did you mean 'conv1'?"),
    ("unit lenet5 cnv1[0,3,4]", "did you mean 'conv1'?"),
    ("weight lenet5 conv1.wieght[0,0,0,0]", "did you mean 'weight'?"),
    ("describe cnv(1,kernel=3) --input 1x8", "did you mean 'conv'?"),
    ("describe conv(1,kernal=3) --input 1x8", "did you mean 'kernel'?"),
    ("evaluate net.safetensor", "did you mean 'net.safetensors'?"),
    ("experiment count", "did you mean 'counts'?"),
    ("plugins layer", "did you mean 'layers'"),
]


@pytest.mark.parametrize(("typed", "meant"), MISSPELT)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(typed, meant, run, folder):
    (folder / "net.safetensors").touch()
    assert meant in run(*typed.split()).complaint


def test_plugins_of_one_kind(run):
    out = run("plugins", "losses").out
    assert "cross-entropy" in out
    assert "momentum" not in out
    (kind,) = {offer["kind"] for offer in json.loads(run("plugins", "losses", "--json").out)["offers"]}
    assert kind == "losses"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_what_is_held_out_has_one_name(name, run):
    """Samples are held out, and what is measured on them is called test; nothing is called validation."""
    told = run(name, "--help").out.lower()
    assert not re.search("validat|hold-?out|held-out set|test set|test data", told)
