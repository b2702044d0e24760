"""The hooks that a plugin may implement. Each hands over a callback that puts things on a shelf of the catalog.

A hookimpl is a function of the hook's name, marked with `hookimpl`. In the examples it is a method, so that an object
can stand for a plugin; in a file it is a function without ``self``, and the file is the plugin::

    from simulator import hookimpl

    @hookimpl
    def register_layers(register):
        register("swish", Swish)
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

__all__ = ["SHELVES", "hookimpl"]

SHELVES = ("layers", "losses", "optimizers", "architectures", "datasets", "engines", "experiments")

hookspec = pluggy.HookspecMarker("simulator")
hookimpl = pluggy.HookimplMarker("simulator")


@hookspec
def register_layers(register: Callable[..., None]) -> None:
    """Offer layers: ``register(name, layer_class, examples=())``.

    ``layer_class`` is a frozen dataclass derived from `MatrixLayer`, `FunctionLayer`, or one of their subclasses.
    ``examples`` is a list of ``(layer, *input_shapes)`` that checks try; a layer without required arguments needs none.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from simulator import Catalog, Elementwise
    >>> @dataclass(frozen=True)
    ... class Power(Elementwise):
    ...     exponent: int
    ...     def value_and_slope(self, x):
    ...         return x**self.exponent, self.exponent * x ** (self.exponent - 1)
    >>> class Powers:
    ...     @hookimpl
    ...     def register_layers(self, register):
    ...         register("power", Power, examples=[(Power(2), (3,)), (Power(3), (2, 5, 5))])
    >>> Catalog(Powers(), entry_points=False).make("power", exponent=2)
    Power(exponent=2)
    """


@hookspec
def register_losses(register: Callable[..., None]) -> None:
    """Offer losses: ``register(name, loss_class, examples=())``.

    The class has ``value(prediction, target)``, a float, and ``grad(prediction, target)`` in the prediction's shape;
    both are means over the batch. ``examples`` is a list of ``(loss, prediction, target)`` that checks try where four
    predictions of three units with labels or targets do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import Catalog, SquaredError
    >>> class Half(SquaredError):
    ...     def value(self, prediction, target):
    ...         return super().value(prediction, target) / 2
    ...     def grad(self, prediction, target):
    ...         return super().grad(prediction, target) / 2
    >>> class Halves:
    ...     @hookimpl
    ...     def register_losses(self, register):
    ...         register("half-squared-error", Half)
    >>> loss = Catalog(Halves(), entry_points=False).create("losses", "half-squared-error")
    >>> loss.value(np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]]))
    1.0
    """


@hookspec
def register_optimizers(register: Callable[[str, type], None]) -> None:
    """Offer optimizers: ``register(name, optimizer_class)``.

    The class takes ``lr``, a number or a callable of the step, and has defaults for all its arguments;
    ``init(params)`` gives the state before the first step, ``step(params, grads, state)`` new params and a new state.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import SGD, Catalog
    >>> class Slow(SGD):
    ...     def step(self, params, grads, state):
    ...         return super().step(params, {name: grad / 10 for name, grad in grads.items()}, state)
    >>> class Slowly:
    ...     @hookimpl
    ...     def register_optimizers(self, register):
    ...         register("slow", Slow)
    >>> slow = Catalog(Slowly(), entry_points=False).create("optimizers", "slow", lr=0.5)
    >>> slow.step({"w": np.array([2.0])}, {"w": np.array([10.0])}, slow.init({}))
    ({'w': array([1.5])}, {'step': 1})
    """


@hookspec
def register_architectures(register: Callable[..., None]) -> None:
    """Offer architectures: ``register(name, build, lr=None, epochs=20, task="classify", losses=None, examples=())``.

    ``build(make, input_shape=(1, 28, 28), classes=10, rng=None, **options)`` returns a `Network` that ends in logits;
    ``make("conv", ...)`` asks the catalog for a layer, ``rng`` is a generator, or None for no weights. The defaults in
    the signature are what `simulator describe` uses, further named arguments are the architecture's options. ``lr`` is
    the learning rate of `simulator train` with momentum where none is given, 0.05 if left out; ``epochs`` how often it
    then passes over the data. ``task`` is "classify", "reconstruct" for a network that is trained to give back its
    input, or "part" for one that a loop of its own trains together with others. ``losses`` says what is minimised where
    that is not the cross-entropy of the only output: ``{output: loss name, or (loss name, weight)}``; the first output
    is the one that predicts. ``examples`` is a list of dicts of arguments that checks try, small ones; default: the
    defaults.

    Examples
    --------
    >>> from simulator import Catalog, Network
    >>> def linear(make, input_shape=(1, 28, 28), classes=10, rng=None, bias=True):
    ...     return Network.sequential(input_shape, [make("dense", classes, bias=bias)], rng=rng)
    >>> class Linear:
    ...     @hookimpl
    ...     def register_architectures(self, register):
    ...         register("linear", linear, lr=0.01, examples=[{"input_shape": (4,), "bias": False}])
    >>> Catalog(Linear(), entry_points=False).build("linear", classes=2).output_shape
    (2,)
    """


@hookspec
def register_datasets(register: Callable[..., None]) -> None:
    """Offer data sets: ``register(name, load, accepts=None, known=())``.

    ``load(shape=None)`` makes samples of any asked shape, ``load(path)`` reads a file or folder, ``load(name)`` fetches
    by name; both may be taken together with ``shape``; each returns a `Dataset`. ``accepts(path)`` tells whether a path
    looks like this kind of data; ``known`` are well-known names that it fetches, which errors propose. What was done to
    the samples goes into the ``preparation`` of the data set; commands tell it, and keep it with a network.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import Catalog, Dataset
    >>> def signs():
    ...     return Dataset(np.array([[-1.0], [1.0]]), np.array([0, 1]), classes=("minus", "plus"))
    >>> class Signs:
    ...     @hookimpl
    ...     def register_datasets(self, register):
    ...         register("signs", signs)
    >>> len(Catalog(Signs(), entry_points=False).load_data("signs"))
    2
    """


@hookspec
def register_engines(register: Callable[[str, type], None]) -> None:
    """Offer engines: ``register(name, engine_class)``.

    The class takes no arguments; ``apply(matrix, x)`` gives W @ x, ``apply_transposed(matrix, dy)`` Wᵀ @ dy, and
    ``grad(matrix, x, dy)`` the gradient of ``sum(dy * (W @ x))`` in the shape of the weight. ``matrix`` is a
    `TiedMatrix`.

    Examples
    --------
    >>> from simulator import Catalog, SciPyEngine
    >>> class Dense(SciPyEngine):
    ...     def apply(self, matrix, x):
    ...         return matrix.tocsr().toarray() @ x
    >>> class Slowest:
    ...     @hookimpl
    ...     def register_engines(self, register):
    ...         register("dense", Dense)
    >>> list(Catalog(Slowest(), entry_points=False).engines)
    ['scipy', 'dense']
    """


@hookspec
def register_experiments(register: Callable[..., None]) -> None:
    """Offer experiments: ``register(name, experiment_class, examples=())``.

    ``experiment_class`` is a frozen dataclass derived from `Experiment`, with defaults for all its fields. ``examples``
    is a list of experiments of this class that checks try, small ones; default: one with the defaults, run quickly.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from simulator import Catalog, Experiment, Finding
    >>> @dataclass(frozen=True)
    ... class Halves(Experiment):
    ...     start: float = 1.0
    ...     def conditions(self, quick=False):
    ...         return [{"times": times} for times in (1, 2)]
    ...     def run(self, condition, seed, catalog):
    ...         return [{"left": self.start / 2 ** condition["times"]}]
    ...     def findings(self, table):
    ...         last = table[-1]["left"]
    ...         return [Finding("a quarter is left", "0.25", str(last), last == 0.25)]
    ...     def draw(self, table, figure):
    ...         figure.subplots().plot([row["times"] for row in table], [row["left"] for row in table])
    >>> class Zeno:
    ...     @hookimpl
    ...     def register_experiments(self, register):
    ...         register("halves", Halves)
    >>> catalog = Catalog(Zeno(), entry_points=False)
    >>> catalog.experiments["halves"]().run({"times": 2}, 0, catalog)
    [{'left': 0.25}]
    """
