"""The catalog: everything that the core and the plugins offer, found by name.

A catalog is an object, not a global: two of them with different plugins live side by side.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator import hookspecs
from simulator.auto import AutoEngine
from simulator.data import Dataset, fitted, scaled_like
from simulator.declared import Declared, options_of
from simulator.engine import Engine
from simulator.errors import (
    FileError,
    NotInstalledError,
    PluginError,
    ShapeError,
    SimulatorError,
    UnknownNameError,
    blamed,
    brief,
    nearest,
)
from simulator.loading import load_plugins
from simulator.losses import Loss
from simulator.network import Network, Rng, as_rng
from simulator.pictures import is_picture
from simulator.preparation import Preparation
from simulator.shelves import Entry, Plugin, Shelf
from simulator.threads import check_cores

__all__ = ["Catalog", "Entry", "Plugin", "Shelf"]

_PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


class Catalog:
    """Layers, losses, optimizers, architectures, data sets, engines and experiments by name.

    Parameters
    ----------
    *plugins : module, object, or str
        Plugins to load beside the installed ones: a module, the name of one, or the path of a Python file.
    entry_points : bool, default True
        Load the installed plugins (entry-point group "simulator"), the bundled ones among them.
    prefer : dict, optional
        Which plugin wins where two offer one name: ``{"layers.conv": "my-plugin"}``.

    Attributes
    ----------
    layers, losses, optimizers, architectures, datasets, engines, experiments : Shelf
    plugins : list of Plugin
        Those that were loaded.
    problems : list of str
        Installed plugins that are broken and were left out, and names that two plugins offer. A name that is built in
        stays what it is unless another plugin is preferred; of two other plugins one must be preferred by whoever asks
        for the name, else there is a `PluginError`.

    Raises
    ------
    PluginError
        If one of `plugins` cannot be loaded or breaks its contract.
    UnknownNameError
        If a preference is for nothing.

    Examples
    --------
    >>> catalog = Catalog(entry_points=False)
    >>> catalog.layers["relu"]()
    ReLU()
    """

    layers: Shelf
    losses: Shelf
    optimizers: Shelf
    architectures: Shelf
    datasets: Shelf
    engines: Shelf
    experiments: Shelf

    def __init__(self, *plugins: Any, entry_points: bool = True, prefer: Mapping[str, str] | None = None) -> None:
        wishes = dict(prefer or {})
        loaded = load_plugins(plugins, entry_points, wishes)
        self.plugins = loaded.plugins
        self.problems = loaded.problems
        for kind, shelf in loaded.shelves.items():
            setattr(self, kind, shelf)
        for wish, plugin in wishes.items():
            kind, _, name = wish.partition(".")
            entries = loaded.shelves[kind].entries if kind in loaded.shelves else {}
            if name not in entries or entries[name].plugin.name != plugin:
                raise UnknownNameError(
                    f"prefer: expected KIND.NAME of something that plugin {brief(plugin)} offers, got "
                    f"{brief(wish)}; see "
                    "'simulator plugins' for what there is"
                )

    def __repr__(self) -> str:
        counts = (f"{len(getattr(self, kind))} {kind}" for kind in hookspecs.SHELVES)
        return f"Catalog of {', '.join(counts)}"

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Create a layer by name: ``make("conv", 6, kernel=5)``.

        Raises
        ------
        UnknownNameError
            If there is no such layer.
        ShapeError
            If it does not take these arguments.
        """
        return self.create("layers", name, *args, **options)

    def create(self, kind: str, name: str, *args: Any, **options: Any) -> Any:
        """Create something from any shelf: ``create("optimizers", "sgd", lr=0.1)``; errors as in `make`."""
        if kind not in hookspecs.SHELVES:
            raise UnknownNameError(f"catalog: expected a shelf, got {brief(kind)}; {nearest(kind, hookspecs.SHELVES)}")
        entry = getattr(self, kind).entry(name)
        with blamed(f"plugin {entry.plugin.name}, {name}", "it to be made from these arguments"):
            return self._call(entry, *args, **options)

    def default_shape(self, architecture: str) -> tuple[int, ...] | None:
        """The input shape that an architecture is built with where none is asked for."""
        parameter = inspect.signature(self.architectures[architecture]).parameters.get("input_shape")
        default = None if parameter is None else parameter.default
        return None if default in (None, inspect.Parameter.empty) else tuple(default)

    def _call(self, entry: Entry, *args: Any, **options: Any) -> Any:
        signature = inspect.signature(entry.object)
        try:
            bound = signature.bind(*args, **options)
        except TypeError as error:
            takes = signature.parameters.values()
            named = [each.name for each in takes if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
            unknown = [name for name in options if name not in named]
            if unknown and all(each.kind != each.VAR_KEYWORD for each in takes):
                got, cure = brief(unknown[0]), nearest(unknown[0], named)
                raise ShapeError(f"{entry.name}: expected one of its arguments, got {got}; {cure}") from None
            plain = signature.replace(
                parameters=[each.replace(annotation=each.empty) for each in takes], return_annotation=signature.empty
            )
            raise ShapeError(f"{entry.name}: expected the arguments {plain}, but {error}; correct the call") from None
        if not (isinstance(entry.object, type) and issubclass(entry.object, Declared)):  # which checks its fields
            for option in options_of(entry.object).values():
                if option.name in bound.arguments:
                    bound.arguments[option.name] = option.checked(bound.arguments[option.name], entry.name)
        return entry.object(*bound.args, **bound.kwargs)

    def build(
        self,
        name: str,
        input_shape: tuple[int, ...] | None = None,
        classes: int | None = None,
        rng: Rng = 0,
        *,
        dtype: Any = "float32",
        engine: str | Engine = "scipy",
        **options: Any,
    ) -> Network:
        """Build a network by the name of its architecture.

        Parameters
        ----------
        name : str
            Such as "lenet5".
        input_shape : tuple of int, optional
            Of one sample. Default: the architecture's own.
        classes : int, optional
            Number of logits. Default: the architecture's own, or 10.
        rng : numpy.random.Generator, int or None, default 0
            Draws the first weights; None builds without weights.
        dtype : numpy dtype, default float32
            float32 or float64.
        engine : str or Engine, default "scipy"
            Which engine multiplies, by name (see `engine`) or made already.
        **options
            What the architecture declares in its signature.

        Returns
        -------
        Network

        Raises
        ------
        UnknownNameError
            If there is no such architecture, engine or option.
        ShapeError
            If the input does not fit.
        """
        entry = self.architectures.entry(name)
        parameters = inspect.signature(entry.object).parameters
        declared = [p for p in parameters if p not in ("make", "input_shape", "classes", "rng")]
        for option in options:
            if option not in declared:
                raise UnknownNameError(
                    f"{name}: expected one of its options, got {brief(option)}; {nearest(option, declared)}"
                )
        if input_shape is None:
            input_shape = self.default_shape(name)
            if input_shape is None:
                raise ShapeError(f"{name}: expected an input shape, got none; give one, for example --input 1x28x28")
        if classes is not None and (not isinstance(classes, int) or classes < 1):
            raise ShapeError(f"{name}: expected at least one class, got {brief(classes)}; give a positive number")
        if not isinstance(input_shape, Sequence):
            raise ShapeError(
                f"{name}: expected an input shape such as (1, 28, 28), got {brief(input_shape)}; give all sizes"
            )
        given = dict(options)
        if "classes" in parameters and (
            classes is not None or parameters["classes"].default is inspect.Parameter.empty
        ):
            given["classes"] = classes or 10
        if rng is not None:  # shapes cost nothing: see first whether the weights fit into memory
            self._built(entry, tuple(input_shape), None, given).check_weights(name, dtype)
        network = self._built(entry, tuple(input_shape), None if rng is None else as_rng(rng), given)
        return network.with_dtype(dtype).with_engine(self.engine(engine) if isinstance(engine, str) else engine)

    def _built(self, entry: Entry, input_shape: tuple[int, ...], rng: Rng, options: dict[str, Any]) -> Network:
        """What an architecture builds; one that fails is named."""
        try:
            network = self._call(entry, self.make, input_shape=input_shape, rng=rng, **options)
        except (SimulatorError, MemoryError, OverflowError):
            raise
        except Exception as error:
            told = ", ".join(f"{key}={brief(value)}" for key, value in options.items()) or "no options"
            raise PluginError(
                f"plugin {entry.plugin.name}, architecture {entry.name}: expected to build with {told}, got "
                f"{brief(error)}; correct the options, or fix the plugin"
            ) from error
        if not isinstance(network, Network):
            raise PluginError(
                f"plugin {entry.plugin.name}, architecture {entry.name}: expected a Network, got "
                f"{type(network).__name__}; return one from the function"
            )
        return network

    def engine(self, name: str = "auto", threads: int | None = None, ready: bool = False) -> Engine:
        """An engine by name.

        Parameters
        ----------
        name : str, default "auto"
            "auto" chooses, for each network and what it is to do, the fastest of those that are installed and state
            their speed. Compiling counts: an engine that compiles is for work that makes up for it.
        threads : int, optional
            How many cores it uses, at most those that there are. Default: all; an engine that takes no such argument
            does as it likes.
        ready : bool, default False
            Whether "auto" is to choose as if nothing had to be compiled, because there is more work to come, as in an
            experiment.

        Returns
        -------
        Engine

        Raises
        ------
        UnknownNameError
            If there is no such engine.
        NotInstalledError
            If a library that it needs is not installed; "auto" leaves such an engine out.
        ShapeError
            If there are not so many cores.

        Examples
        --------
        >>> Catalog().engine("scipy", threads=1)
        SciPyEngine(threads=1)
        """
        if threads is not None:
            check_cores(threads, f"engine {name}")
        if name != "auto" or name in self.engines:
            takes = "threads" in inspect.signature(self.engines[name]).parameters
            return self.create("engines", name, **({"threads": threads} if takes else {}))
        found = []
        for each in self.engines:
            if hasattr(self.engines[each], "speed"):
                with contextlib.suppress(NotInstalledError):
                    found.append(self.engine(each, threads))
        return AutoEngine(found, ready)

    def objective(self, name: str, network: Network) -> tuple[dict[str, Loss], dict[str, float]]:
        """What a network of an architecture is trained for.

        Parameters
        ----------
        name : str
            Of the architecture.
        network : Network
            Built from it.

        Returns
        -------
        losses : dict of Loss by output name
            For `train`; the first output is the one that predicts, others are heads that help in training.
        weights : dict of float by output name
            Factors on the losses.

        Raises
        ------
        PluginError
            If the first loss that the architecture declares is for no output of the network.
        UnknownNameError
            If there is no such architecture or loss.

        Examples
        --------
        >>> catalog = Catalog()
        >>> catalog.objective("lenet5", catalog.build("lenet5", rng=None))
        ({'dense3': CrossEntropy(label_smoothing=0.0, class_weights=None, ignore_index=None)}, {'dense3': 1.0})
        """
        entry = self.architectures.entry(name)
        usual = "squared-error" if entry.task == "reconstruct" else "cross-entropy"
        declared = {network.output_name: usual} if entry.losses is None else entry.losses
        main = next(iter(declared), None)
        if main not in network.nodes:
            raise PluginError(
                f"plugin {entry.plugin.name}, architecture {name}: expected the first of its losses to be for an "
                f"output of the network, got {brief(main)}; name one of {', '.join(network.outputs)}"
            )
        losses, weights = {}, {}
        for output, wanted in declared.items():
            if output in network.nodes:
                loss, weight = (wanted, 1.0) if isinstance(wanted, str) else wanted
                losses[output], weights[output] = self.create("losses", loss), float(weight)
        return losses, weights

    def load_data(self, source: str, shape: tuple[int, ...] | None = None, like: Preparation | None = None) -> Dataset:
        """Load a data set.

        Parameters
        ----------
        source : str
            A name ("digits"), a name with a path ("idx:folder") or another name ("openml:mnist_784"), or a path that
            one of the data sets accepts.
        shape : tuple of int, optional
            Shape of one sample: what has another is brought to it, see `simulator.data.fitted`. Default: as they are.
        like : Preparation, optional
            Of the data that a network was trained on: numbers are scaled as those were, see
            `simulator.data.scaled_like`.

        Returns
        -------
        Dataset
            What was done to the samples is in its `preparation`.

        Raises
        ------
        UnknownNameError
            If there is no such data set.
        FileError
            If there is nothing at the path, or nothing that can be read.
        ShapeError
            If the samples cannot be brought to the shape.
        """
        entry, path = self._source(source)
        parameters = inspect.signature(entry.object).parameters
        given: dict[str, Any] = {}
        if "path" in parameters:
            if not path:
                raise FileError(f"data {entry.name}: expected a path, got none; write {entry.name}:PATH")
            if not Path(path).exists():
                raise FileError(
                    f"data {entry.name}: expected a file or folder, got {path}, which does not exist; check the path"
                )
            given["path"] = Path(path)
        elif "name" in parameters:
            if not path:
                raise FileError(f"data {entry.name}: expected a name, got none; write {entry.name}:NAME")
            given["name"] = path
        elif path:
            raise FileError(f"data {entry.name}: expected no path, got {path}; write just {entry.name}")
        if "shape" in parameters:
            given["shape"] = shape
        try:
            data = self._call(entry, **given)
        except (SimulatorError, MemoryError):
            raise
        except Exception as error:
            raise PluginError(
                f"plugin {entry.plugin.name}, data set {entry.name}: expected it to load, got {type(error).__name__}: "
                f"{error}; check the data, or fix the plugin"
            ) from error
        if not isinstance(data, Dataset):
            raise PluginError(
                f"plugin {entry.plugin.name}, data set {entry.name}: expected a Dataset, got {type(data).__name__}; "
                "return one from the function"
            )
        data = data if like is None else scaled_like(data, like)
        return data if shape is None or "shape" in parameters else fitted(data, shape, source)

    def any_shape(self, source: str) -> bool:
        """Whether these data come in any asked shape; `source` as for `load_data`."""
        return "shape" in inspect.signature(self._source(source)[0].object).parameters

    def _source(self, source: str) -> tuple[Entry, str]:
        """The data set that `source` names or that accepts it as a path, and the path, "" for none."""
        name, _, path = source.partition(":")
        if name in self.datasets:
            return self.datasets.entry(name), path
        if Path(source).exists():
            readers = {name: e for name, e in self.datasets.entries.items() if e.accepts is not None}
            fitting, told = [], ""
            for reader in list(readers):
                try:
                    with blamed(f"plugin {readers[reader].plugin.name}, data set {reader}", "accepts to know a path"):
                        fitting += [reader] if readers[reader].accepts(Path(source)) else []  # type: ignore[misc]
                except PluginError as error:
                    del readers[reader]
                    told += f" ({error})"
            if len(fitting) == 1:
                return readers[fitting[0]], source
            got, cure = "none", _unread(Path(source))
            if fitting:
                got = "several that could"
                cure = "name the kind, " + " or ".join(f"{reader}:{source}" for reader in fitting)
            raise FileError(f"data {source}: expected one data set that reads it, got {got}; {cure}{told}")
        if Path(source).suffix or len(Path(source).parts) > 1:
            raise FileError(f"data: expected a data set or a path, got {source}, which does not exist; check the path")
        if name not in self.datasets.disputes:
            raise self._unknown_data(name)
        return self.datasets.entry(name), path

    def _unknown_data(self, name: str) -> UnknownNameError:
        """An error with what comes near to the name, also of what can be fetched by name."""
        ways = {}
        for entry in self.datasets.entries.values():
            parameters = inspect.signature(entry.object).parameters
            kind = next((f":{kind.upper()}" for kind in ("path", "name") if kind in parameters), "")
            ways[entry.name] = entry.name + kind
            ways.update({each.casefold(): f"{entry.name}:{each}" for each in entry.known})
        close = [ways[near] for near in difflib.get_close_matches(name[:1000].casefold(), ways, n=3, cutoff=0.7)]
        told = (
            f"did you mean {' or '.join(map(repr, close))}?" if close else nearest("", [ways[n] for n in self.datasets])
        )
        return UnknownNameError(
            f"catalog: expected one of the datasets, got {brief(name)}; {told} (see 'simulator plugins')"
        )


def _unread(path: Path) -> str:
    """What to do with a path that no data set reads."""
    name = path.name.lower()
    if path.is_file() and name.endswith(_PACKED):
        return "unpack it, and give the folder with what was in it"
    if is_picture(path):
        return f"put it into a folder of its class, or predict it with: simulator predict NET --image {path}"
    if path.is_dir() and not any(path.iterdir()):
        return "fill it, or check the path"
    return "save what it holds with numpy.savez(path, inputs=samples, targets=labels)"
