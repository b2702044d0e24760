"""The catalog: everything that the core and the plugins offer, found by name.

A catalog is an object, not a global: two of them with different plugins live side by side.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from simulator import builtin, hookspecs
from simulator.data import Dataset
from simulator.errors import FileError, PluginError, ShapeError, SimulatorError, UnknownNameError, nearest
from simulator.network import Network, Rng, as_rng

__all__ = ["Catalog", "Entry", "Plugin", "Shelf"]

_GROUP = "simulator"
_DISTRIBUTION = "cnn-matrix-simulator"


@dataclass(frozen=True)
class Plugin:
    """Where offers come from.

    Parameters
    ----------
    name : str
        Of the plugin.
    origin : str
        The distribution with its version, the file, or the module.
    """

    name: str
    origin: str


@dataclass(frozen=True)
class Entry:
    """One thing on a shelf.

    Parameters
    ----------
    name : str
        What it is asked for by.
    object : Any
        The class or function.
    plugin : Plugin
        Who offers it.
    accepts : callable, optional
        For data sets: whether a path looks like this kind of data.
    lr : float, optional
        For architectures: a learning rate that suits momentum.
    """

    name: str
    object: Any
    plugin: Plugin
    accepts: Callable[[Path], bool] | None = None
    lr: float | None = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.object) or "").partition("\n")[0]


class Shelf(Mapping[str, Any]):
    """What is offered of one kind, by name."""

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind = kind
        self.entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        return self.entry(name).object

    def entry(self, name: str) -> Entry:
        """The entry of this name, or an `UnknownNameError` with the nearest ones."""
        if name not in self.entries:
            raise UnknownNameError(
                f"catalog: expected one of the {self.kind}, got {name!r}; {nearest(name, self.entries)} (see "
                "'simulator plugins')"
            )
        return self.entries[name]

    def named(self, obj: Any) -> Entry | None:
        """The entry that offers `obj`, or None."""
        return next((e for e in self.entries.values() if e.object is obj), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries


class Catalog:
    """Layers, losses, optimizers, architectures, data sets and engines by name.

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
    layers, losses, optimizers, architectures, datasets, engines : Shelf
    problems : list of str
        Installed plugins that could not be imported and were skipped.

    Raises
    ------
    PluginError
        If a plugin breaks its contract, or two offer one name.

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

    def __init__(self, *plugins: Any, entry_points: bool = True, prefer: Mapping[str, str] | None = None) -> None:
        self.problems: list[str] = []
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager("simulator")
        self._manager.add_hookspecs(hookspecs)
        self._load(builtin, Plugin("core", f"{_DISTRIBUTION} {_version()}"))
        if entry_points:
            for point in sorted(importlib.metadata.entry_points(group=_GROUP), key=lambda p: p.name):
                origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
                try:
                    module = point.load()
                except Exception as error:  # an installed plugin must not take the others down
                    self.problems.append(
                        f"plugin {point.name} ({origin}): expected a module that can be imported, got "
                        f"{type(error).__name__}: {error}; mend or uninstall it"
                    )
                    continue
                self._load(module, Plugin(point.name, origin))
        for plugin in plugins:
            module, record = _found(plugin)
            self._load(module, record)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = self._manager.get_name(error.plugin)
            hook = str(error).partition("'")[2].partition("'")[0]
            raise PluginError(
                f"plugin {name}: expected only known hooks, got {hook!r}; {nearest(hook, _hook_names())}"
            ) from None
        wishes = dict(prefer or {})
        for kind in hookspecs.SHELVES:
            setattr(self, kind, Shelf(kind, {name: _chosen(kind, o, wishes) for name, o in self._offers(kind).items()}))
        for wish, plugin in wishes.items():
            kind, _, name = wish.partition(".")
            if kind not in hookspecs.SHELVES or plugin != _provider(getattr(self, kind), name):
                raise UnknownNameError(
                    f"prefer: expected KIND.NAME of something that plugin {plugin!r} offers, got {wish!r}; see "
                    "'simulator plugins' for what there is"
                )

    def _load(self, module: Any, plugin: Plugin) -> None:
        try:
            name = self._manager.register(module, name=plugin.name)
        except pluggy.PluginValidationError as error:
            reason = " ".join(str(error).split())
            raise PluginError(
                f"plugin {plugin.name} ({plugin.origin}): expected hooks with the arguments of their specification, "
                f"got: {reason}; each takes the one argument 'register'"
            ) from None
        except ValueError:
            raise PluginError(
                f"plugin {plugin.name} ({plugin.origin}): expected a new name and module, got one that is loaded "
                "already; load it once, or rename its entry point"
            ) from None
        if name is not None:
            self.plugins.append(plugin)

    def _offers(self, kind: str) -> dict[str, list[Entry]]:
        """What all plugins offer of one kind, by name."""
        hook = f"register_{kind}"
        offers: dict[str, list[Entry]] = {}
        for plugin in self.plugins:
            others = [module for name, module in self._manager.list_name_plugin() if name != plugin.name]

            def register(
                name: str,
                obj: Any,
                accepts: Callable[[Path], bool] | None = None,
                lr: float | None = None,
                plugin: Plugin = plugin,
            ) -> None:
                if not isinstance(name, str) or not callable(obj):
                    raise PluginError(
                        f"plugin {plugin.name}, {hook}: expected register(name, class or function), got "
                        f"register({name!r}, {obj!r}); pass a string and the class itself"
                    )
                offers.setdefault(name, []).append(Entry(name, obj, plugin, accepts, lr))

            try:
                self._manager.subset_hook_caller(hook, others)(register=register)
            except SimulatorError:
                raise
            except Exception as error:
                raise PluginError(
                    f"plugin {plugin.name}, {hook}: expected it to register what it offers, got "
                    f"{type(error).__name__}: {error}; mend the hook"
                ) from error
        return offers

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
            raise UnknownNameError(f"catalog: expected a shelf, got {kind!r}; {nearest(kind, hookspecs.SHELVES)}")
        return self._call(getattr(self, kind).entry(name), *args, **options)

    def default_shape(self, architecture: str) -> tuple[int, ...] | None:
        """The input shape that an architecture is built with where none is asked for."""
        parameter = inspect.signature(self.architectures[architecture]).parameters.get("input_shape")
        return None if parameter is None or parameter.default is parameter.empty else tuple(parameter.default)

    def _call(self, entry: Entry, *args: Any, **options: Any) -> Any:
        try:
            inspect.signature(entry.object).bind(*args, **options)
        except TypeError as error:
            raise ShapeError(
                f"{entry.name}: expected the arguments {inspect.signature(entry.object)}, but {error}; correct the call"
            ) from None
        return entry.object(*args, **options)

    def build(
        self,
        name: str,
        input_shape: tuple[int, ...] | None = None,
        classes: int = 10,
        rng: Rng = 0,
        *,
        dtype: Any = "float32",
        engine: str = "scipy",
        **options: Any,
    ) -> Network:
        """Build a network by the name of its architecture.

        Parameters
        ----------
        name : str
            Such as "lenet5".
        input_shape : tuple of int, optional
            Of one sample. Default: the architecture's own.
        classes : int, default 10
            Number of logits.
        rng : numpy.random.Generator, int or None, default 0
            Draws the first weights; None builds without weights.
        dtype : numpy dtype, default float32
            float32 or float64.
        engine : str, default "scipy"
            Name of the engine.
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
                    f"{name}: expected one of its options, got {option!r}; {nearest(option, declared)}"
                )
        if input_shape is None:
            input_shape = self.default_shape(name)
            if input_shape is None:
                raise ShapeError(f"{name}: expected an input shape, got none; give one, for example --input 1x28x28")
        if not isinstance(classes, int) or classes < 1:
            raise ShapeError(f"{name}: expected at least one class, got {classes!r}; give a positive number")
        if not isinstance(input_shape, Sequence):
            raise ShapeError(
                f"{name}: expected an input shape such as (1, 28, 28), got {input_shape!r}; give all sizes"
            )
        generator = None if rng is None else as_rng(rng)
        try:
            network = self._call(
                entry, self.make, input_shape=tuple(input_shape), classes=classes, rng=generator, **options
            )
        except (SimulatorError, MemoryError, OverflowError):
            raise
        except Exception as error:
            given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
            raise PluginError(
                f"plugin {entry.plugin.name}, architecture {name}: expected to build with {given}, got "
                f"{type(error).__name__}: {error}; correct the options, or mend the plugin"
            ) from error
        if not isinstance(network, Network):
            raise PluginError(
                f"plugin {entry.plugin.name}, architecture {name}: expected a Network, got {type(network).__name__}; "
                "return one from the function"
            )
        return network.with_dtype(dtype).with_engine(self.create("engines", engine))

    def load_data(self, source: str, shape: tuple[int, ...] | None = None) -> Dataset:
        """Load a data set.

        Parameters
        ----------
        source : str
            A name ("digits"), a name with a path ("idx:folder"), or a path that one of the data sets accepts.
        shape : tuple of int, optional
            Shape of one sample, for data sets that can be made in any size.

        Returns
        -------
        Dataset

        Raises
        ------
        UnknownNameError
            If there is no such data set.
        FileError
            If there is nothing at the path, or nothing that can be read.
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
        elif path:
            raise FileError(f"data {entry.name}: expected no path, got {path}; write just {entry.name}")
        if "shape" in parameters:
            given["shape"] = shape
        data = self._call(entry, **given)
        if not isinstance(data, Dataset):
            raise PluginError(
                f"plugin {entry.plugin.name}, data set {entry.name}: expected a Dataset, got {type(data).__name__}; "
                "return one from the function"
            )
        return data

    def any_shape(self, source: str) -> bool:
        """Whether these data come in any asked shape; `source` as for `load_data`."""
        return "shape" in inspect.signature(self._source(source)[0].object).parameters

    def _source(self, source: str) -> tuple[Entry, str]:
        """The data set that `source` names or that accepts it as a path, and the path, "" for none."""
        name, _, path = source.partition(":")
        if name in self.datasets:
            return self.datasets.entry(name), path
        if Path(source).exists():
            fitting = [e for e in self.datasets.entries.values() if e.accepts is not None and e.accepts(Path(source))]
            if len(fitting) == 1:
                return fitting[0], source
            readers = fitting or [e for e in self.datasets.entries.values() if e.accepts is not None]
            kinds = " or ".join(f"{e.name}:{source}" for e in readers)
            got = "several that could" if fitting else "none"
            raise FileError(f"data {source}: expected one data set that reads it, got {got}; name the kind, {kinds}")
        if Path(source).suffix or len(Path(source).parts) > 1:
            raise FileError(f"data: expected a data set or a path, got {source}, which does not exist; check the path")
        return self.datasets.entry(name), path


def _chosen(kind: str, offers: list[Entry], wishes: Mapping[str, str]) -> Entry:
    """The only offer of a name, or the preferred one."""
    wish = wishes.get(f"{kind}.{offers[0].name}")
    fitting = [o for o in offers if wish in (None, o.plugin.name)]
    if len(offers) > 1 and len(fitting) != 1:
        first, second = offers[:2]
        raise PluginError(
            f"catalog: expected one plugin to offer {kind}.{first.name}, got {first.plugin.name} "
            f"({first.plugin.origin}) and {second.plugin.name} ({second.plugin.origin}); choose with --prefer "
            f"{kind}.{first.name}={second.plugin.name}"
        )
    return fitting[0] if fitting else offers[0]


def _provider(shelf: Shelf, name: str) -> str | None:
    return shelf.entries[name].plugin.name if name in shelf else None


def _hook_names() -> list[str]:
    return [f"register_{kind}" for kind in hookspecs.SHELVES]


def _version() -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _found(plugin: Any) -> tuple[Any, Plugin]:
    """A plugin given as module, object, module name or file, and where it is from."""
    if not isinstance(plugin, (str, Path)):
        name = getattr(plugin, "__name__", type(plugin).__name__)
        return plugin, Plugin(name, str(getattr(plugin, "__file__", None) or "given as an object"))
    path = Path(plugin)
    try:
        if path.suffix == ".py":
            if not path.is_file():
                raise PluginError(f"plugin {plugin}: expected a Python file, got no such file; check the path")
            return _imported_file(path), Plugin(path.stem, str(path))
        return importlib.import_module(str(plugin)), Plugin(str(plugin), f"module {plugin}")
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"plugin {plugin}: expected a module that can be imported, got {type(error).__name__}: {error}; mend it, "
            "or install what it needs"
        ) from error


def _imported_file(path: Path) -> ModuleType:
    name = f"simulator_local_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
