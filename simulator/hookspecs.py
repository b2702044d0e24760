"""The hooks that a plugin may implement. Each hands over a callback that puts things on a shelf of the catalog.

A hookimpl is a function of the hook's name, marked with `hookimpl`::

    from simulator import hookimpl

    @hookimpl
    def register_layers(register):
        register("swish", Swish)
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

__all__ = ["SHELVES", "hookimpl"]

SHELVES = ("layers", "losses", "optimizers", "architectures", "datasets", "engines")

hookspec = pluggy.HookspecMarker("simulator")
hookimpl = pluggy.HookimplMarker("simulator")


@hookspec
def register_layers(register: Callable[..., None]) -> None:
    """Offer layers: ``register(name, layer_class, examples=())``, a frozen `MatrixLayer` or `FunctionLayer`.

    ``examples`` is a list of ``(layer, *input_shapes)`` that checks try; a layer without required arguments needs none.
    """


@hookspec
def register_losses(register: Callable[..., None]) -> None:
    """Offer losses: ``register(name, loss_class, examples=())`` with ``value`` and ``grad``.

    ``examples`` is a list of ``(loss, prediction, target)`` that checks try.
    """


@hookspec
def register_optimizers(register: Callable[[str, type], None]) -> None:
    """Offer optimizers: ``register(name, optimizer_class)`` with ``init`` and ``step``; the first field is ``lr``."""


@hookspec
def register_architectures(register: Callable[..., None]) -> None:
    """Offer architectures: ``register(name, build, lr=None, task="classify", losses=None, examples=())``.

    ``build(make, input_shape=(1, 28, 28), classes=10, rng=None, **options)`` returns a `Network` that ends in logits;
    ``make("conv", ...)`` asks the catalog for a layer, ``rng`` is a generator, or None for no weights. The defaults in
    the signature are what `simulator describe` uses, further named arguments are the architecture's options. ``lr`` is
    the learning rate of `simulator train` with momentum where none is given, 0.05 if left out. ``task`` is "classify",
    "reconstruct" for a network that is trained to give back its input, or "part" for one that a loop of its own trains
    together with others. ``losses`` says what is minimised where that is not the cross-entropy of the only output:
    ``{output: loss name, or (loss name, weight)}``; the first output is the one that predicts.
    ``examples`` is a list of dicts of arguments that checks try, small ones; default: the defaults.
    """


@hookspec
def register_datasets(register: Callable[..., None]) -> None:
    """Offer data sets: ``register(name, load, accepts=None)``.

    ``load(shape=None)`` makes samples of any asked shape, ``load(path)`` reads a file or folder, ``load(name)`` fetches
    by name; both may be taken together with ``shape``; each returns a `Dataset`. ``accepts(path)`` tells whether a path
    looks like this kind of data.
    """


@hookspec
def register_engines(register: Callable[[str, type], None]) -> None:
    """Offer engines: ``register(name, engine_class)`` with ``apply``, ``apply_transposed`` and ``grad``."""
