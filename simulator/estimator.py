"""A scikit-learn classifier around any architecture of the catalog: pipelines, grid searches, cross-validation.

It needs scikit-learn, which the rest of the simulator does not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from simulator.catalog import Catalog
from simulator.data import Dataset
from simulator.errors import FileError, ShapeError, SimulatorError, brief
from simulator.files import load as read_file
from simulator.files import save as write_file
from simulator.layers import Layer, Standardise
from simulator.network import Network
from simulator.preparation import Preparation
from simulator.schedules import CosineDecay, check_number
from simulator.training import train
from simulator.windows import check_size

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise SimulatorError(
        "SimulatorClassifier: expected scikit-learn 1.6 or later, got none; pip install 'scikit-learn>=1.6'"
    ) from None

__all__ = ["SimulatorClassifier"]

_FLOATS = (np.float64, np.float32)  # what a network computes in; anything else becomes the first
_OURS = ("make", "input_shape", "classes", "rng", "dtype", "engine")  # arguments of Catalog.build that fit() gives
_LABELS = "biufUO"  # kinds of labels that a file can hold
_CHUNK = 256  # samples that predict at once; a network keeps every activation of them


class SimulatorClassifier(ClassifierMixin, BaseEstimator):
    """A network of the catalog as a scikit-learn classifier.

    As a matrix: what the architecture is; "mlp" is full matrices, a convolutional net sparse ones that share weights.

    Parameters
    ----------
    architecture : str, default "mlp"
        Its name in the catalog.
    input_shape : tuple of int, optional
        Shape of one sample, (channels, *space), into which the features are brought in C order. Default: the
        architecture's own where it has as many units as there are features, else (n_features,), which an architecture
        for pictures refuses.
    epochs : int, optional
        Passes over the data. Default: the architecture's own, usually 20.
    batch_size : int, default 32
        Samples per step.
    optimizer : str, default "momentum"
        Its name in the catalog.
    learning_rate : float, optional
        At the first step; it falls to 0 along half a cosine. Default: with momentum the architecture's own, else 0.05;
        with another optimizer that optimizer's own.
    weight_decay : float, default 0
        Pull towards zero.
    options : dict, optional
        What the architecture declares in its signature, such as ``{"hidden": (100, 50)}``.
    scale : bool, default True
        Bring the features to mean 0 and variance 1 of the training data first, as gradient descent needs it: where
        samples have space, as pictures do, all of them together, so that a pixel that is nearly always black stays as
        dark as the others; else each by itself. For 64 features that are no picture write ``input_shape=(64,)``.
    engine : str, default "auto"
        Which engine multiplies the matrices: its name in the catalog; "auto" takes the fastest for the network.
    plugins : sequence of str, default ()
        Plugins to load beside the installed ones: names of modules, or paths of Python files.
    random_state : int, numpy.random.RandomState or None, default None
        Draws the first weights and shuffles. One number gives one result, to the last bit with the same engine, cores,
        libraries and kind of processor.
    verbose : int, default 0
        With 1 every epoch prints a line.

    Attributes
    ----------
    classes_ : numpy.ndarray, (n_classes,)
        The labels, sorted; of any type.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : numpy.ndarray, (n_features_in_,)
        Names of the columns, if they were given.
    network_ : Network
        As it was trained, in float32 for features in float32, else in float64; heads that only training needs are cut
        off. It reads features as they are: with `scale` its first layer, `Standardise`, brings them to one scale.
    scaler_ : sklearn.preprocessing.StandardScaler or None
        What measured that scale, of one feature where all have one; None without `scale`, and in a model from a file,
        whose network has the numbers.
    preparation_ : simulator.preparation.Preparation
        What the samples are like, so that ``simulator predict --image`` brings pictures to it.
    n_iter_ : int
        Epochs that were run.
    loss_curve_ : list of float
        Mean loss of each epoch.

    Notes
    -----
    A pickled model is code: load only what you trust. It finds its layers by module and name, so one whose layers come
    from a plugin file, rather than from an installed module, can be pickled in the process that loaded the file only.
    `save` writes the model to a file in which nothing is ever evaluated, and `load` reads it; every command of the
    command line takes the file, too, with data in the units of X.

    References
    ----------
    L. Buitinck et al., "API design for machine learning software: experiences from the scikit-learn project", 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SimulatorClassifier(epochs=5, random_state=0).fit(X[:1500], y[:1500])
    >>> model.network_
    Network 4 layers, 4810 params: (1, 8, 8) -> (10,)
    >>> model.score(X[1500:], y[1500:]) > 0.9
    True
    """

    def __init__(
        self,
        architecture: str = "mlp",
        *,
        input_shape: tuple[int, ...] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        optimizer: str = "momentum",
        learning_rate: float | None = None,
        weight_decay: float = 0.0,
        options: Mapping[str, Any] | None = None,
        scale: bool = True,
        engine: str = "auto",
        plugins: Sequence[str | Path] = (),
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.input_shape = input_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.options = options
        self.scale = scale
        self.engine = engine
        self.plugins = plugins
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SimulatorClassifier:
        """Train a new network.

        Parameters
        ----------
        X : array_like, (n_samples, n_features)
            Finite numbers.
        y : array_like, (n_samples,)
            Labels of any type, of at least two classes.

        Returns
        -------
        SimulatorClassifier
            Itself.

        Raises
        ------
        ValueError
            If scikit-learn finds X or y no data for a classifier.
        ShapeError
            If there is one class only, an argument is out of range, or the samples do not fit the architecture.
        UnknownNameError
            If the catalog lacks a name, or the architecture an option.
        SimulatorError
            If the loss is no longer finite.
        """
        X, y = validate_data(self, X, y, dtype=_FLOATS)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ShapeError(
                f"SimulatorClassifier: expected samples of at least two classes, got one class, {classes.tolist()}; "
                "give samples of another class, too"
            )
        catalog = self._catalog()
        own = catalog.architectures.entry(self.architecture).epochs
        epochs = check_size(own if self.epochs is None else self.epochs, "SimulatorClassifier epochs")
        batch_size = check_size(self.batch_size, "SimulatorClassifier batch_size")
        optimizer = self._optimizer(catalog, steps=epochs * math.ceil(len(X) / batch_size))
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        network = self._network(catalog, classes, X.dtype, rng)
        scaler = StandardScaler().fit(_on_one_scale(X, network)) if self.scale else None
        losses, weights = catalog.objective(self.architecture, network)
        curve = []
        for epoch in train(
            network,
            Dataset(_samples(X if scaler is None else _scaled(X, scaler, network), network), labels),
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            losses=losses,
            loss_weights=weights,
            metrics={},
            rng=rng,
        ):
            curve.append(epoch.loss)
            if self.verbose:
                print(f"epoch {epoch.number}/{epochs}: loss {epoch.loss:.4f}")
        self.classes_ = classes
        self.scaler_ = scaler
        trained = epoch.network.with_engine(network.engine).subnetwork(next(iter(losses)))  # not that of the long run
        self.network_ = trained if scaler is None else _reading_raw(trained, scaler)
        self.preparation_ = Preparation(divisor=1.0).measured(_samples(X, network))
        self.loss_curve_ = curve
        self.n_iter_ = len(curve)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits; of two classes how far the second is above the first.

        Parameters
        ----------
        X : array_like, (n_samples, n_features)
            Finite numbers.

        Returns
        -------
        numpy.ndarray, (n_samples, n_classes), or (n_samples,) for two classes

        Raises
        ------
        ValueError
            If the features are not those of `fit`.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the logits.

        Parameters
        ----------
        X : array_like, (n_samples, n_features)
            Finite numbers.

        Returns
        -------
        numpy.ndarray of float64, (n_samples, n_classes)

        Raises
        ------
        ValueError
            If the features are not those of `fit`.
        """
        return scipy.special.softmax(self._logits(X).astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The label of the largest logit.

        Parameters
        ----------
        X : array_like, (n_samples, n_features)
            Finite numbers.

        Returns
        -------
        numpy.ndarray, (n_samples,)

        Raises
        ------
        ValueError
            If the features are not those of `fit`.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a file, with scaling, labels and parameters; see `simulator.save`.

        Parameters
        ----------
        path : str or Path
            Where to; an existing file is replaced.

        Raises
        ------
        NotFittedError
            Before `fit`.
        FileError
            If the file cannot be written, or labels or parameters are no plain values.

        Notes
        -----
        `plugins` are not kept, since what a file names would be run: give them to `load`. Nor is a `random_state` that
        is no number.
        """
        check_is_fitted(self, "network_")
        given = {name: value for name, value in self.get_params(deep=False).items() if name != "plugins"}
        if not isinstance(self.random_state, (int, np.integer)):
            given["random_state"] = None
        model = {
            "labels": _plain_labels(self.classes_),
            "params": given,
            "features": list(getattr(self, "feature_names_in_", [])),
            "loss_curve": self.loss_curve_,
        }
        classes = [str(label) for label in self.classes_.tolist()]
        info = {"classes": classes, "classifier": model, "preparation": self.preparation_.plain()}
        write_file(path, self.network_, catalog=self._catalog(), info=info)

    @classmethod
    def load(cls, path: str | Path, *, plugins: Sequence[str | Path] = ()) -> SimulatorClassifier:
        """Read a model that `save` wrote; nothing in the file is evaluated.

        Parameters
        ----------
        path : str or Path
            The file.
        plugins : sequence of str, default ()
            Plugins that offer its layers, beside the installed ones.

        Returns
        -------
        SimulatorClassifier
            Fitted: it predicts the same as the one that was saved.

        Raises
        ------
        FileError
            If there is no such file, it is damaged, or holds no classifier.

        Examples
        --------
        >>> import tempfile
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SimulatorClassifier(random_state=0).fit(X, y).save(f"{folder}/model")
        ...     print(SimulatorClassifier.load(f"{folder}/model").predict([[0.5], [2.5]]))
        ['low' 'high']
        """
        catalog = cls(plugins=plugins)._catalog()
        saved = read_file(path, catalog=catalog)
        told = saved.info.get("classifier")
        if not isinstance(told, dict):
            raise FileError(
                f"SimulatorClassifier.load: expected a file that SimulatorClassifier.save wrote, got another network, "
                f"{path}; read it with simulator.load"
            )
        try:
            params = dict(told["params"])
            if isinstance(params["input_shape"], list):
                params["input_shape"] = tuple(params["input_shape"])
            model = cls(**params, plugins=plugins)
            labels, names, curve = _labels(told["labels"]), told["features"], told["loss_curve"]
            if saved.network.output_shape != labels.shape or not all(isinstance(name, str) for name in names):
                raise ValueError("labels or features that do not fit the network")
            model.network_ = saved.network.with_engine(catalog.engine(model.engine))
            model.loss_curve_ = [float(value) for value in curve]
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, SimulatorError) as error:
            raise FileError(
                f"SimulatorClassifier.load {path}: expected what SimulatorClassifier.save wrote, got {brief(error)}; "
                "the file is damaged"
            ) from None
        model.preparation_ = Preparation()
        with contextlib.suppress(KeyError, TypeError, ValueError):  # files of earlier versions have none
            model.preparation_ = Preparation.restored(saved.info["preparation"])
        model.classes_, model.scaler_, model.n_iter_ = labels, None, len(model.loss_curve_)
        model.n_features_in_ = math.prod(saved.network.input_shape)
        if names:
            model.feature_names_in_ = np.array(names, dtype=object)
        return model

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=self.network_.dtype, reset=False)
        samples = _samples(X, self.network_)
        step = self.network_.fitting_batch(_CHUNK)
        chunks = [self.network_.predict(samples[i : i + step]) for i in range(0, len(samples), step)]
        return np.concatenate(chunks)

    def _catalog(self) -> Catalog:
        if not isinstance(self.plugins, (list, tuple)) or not all(isinstance(p, (str, Path)) for p in self.plugins):
            raise ShapeError(
                f"SimulatorClassifier plugins: expected names of modules or paths of files, got {brief(self.plugins)}; "
                "write plugins=('my_plugin.py',)"
            )
        return Catalog(*self.plugins)

    def _network(self, catalog: Catalog, classes: np.ndarray, dtype: np.dtype, rng: np.random.Generator) -> Network:
        """The network before training."""
        task = catalog.architectures.entry(self.architecture).task
        if task != "classify":
            raise ShapeError(
                f"SimulatorClassifier architecture: expected one with the task classify, got {self.architecture} with "
                f"{task}; see 'simulator plugins' for others"
            )
        options = {} if self.options is None else self.options
        if not isinstance(options, Mapping) or any(name in _OURS for name in options):
            raise ShapeError(
                f"SimulatorClassifier options: expected a dict of options of {self.architecture} itself, got "
                f"{brief(options)}; leave out {', '.join(_OURS)}"
            )
        given = {**options, "classes": len(classes), "dtype": dtype, "engine": self.engine}
        shape, own = self._shape(catalog), catalog.default_shape(self.architecture)
        try:
            return catalog.build(self.architecture, shape, rng=rng, **given)
        except ShapeError:
            if self.input_shape is not None or own in (None, shape):
                raise
            catalog.build(
                self.architecture, own, rng=None, **given
            )  # tells if it is not the shape but an option that does not fit
            n, side = self.n_features_in_, math.isqrt(self.n_features_in_)
            cure = f"give one of {n} units"
            if side * side == n:
                with contextlib.suppress(ShapeError):  # a picture may still be too small
                    catalog.build(self.architecture, (1, side, side), rng=None, **given)
                    cure = f"write for example input_shape={(1, side, side)}"
            raise ShapeError(
                f"SimulatorClassifier input_shape: expected the shape of one sample, since {self.architecture} reads "
                f"arrays such as {own}, got none for {n} features; {cure}"
            ) from None

    def _shape(self, catalog: Catalog) -> tuple[int, ...]:
        """Of one sample."""
        n = self.n_features_in_
        if self.input_shape is not None:
            shape, who = self.input_shape, "SimulatorClassifier input_shape"
            if not isinstance(shape, Sequence) or math.prod(check_size(size, who) for size in shape) != n:
                raise ShapeError(
                    f"{who}: expected a shape of {n} units, one per feature, got {brief(shape)}; give one that "
                    "they fill"
                )
            return tuple(shape)
        own = catalog.default_shape(self.architecture)
        return own if own is not None and math.prod(own) == n else (n,)

    def _optimizer(self, catalog: Catalog, steps: int) -> Any:
        rate: Any = self.learning_rate
        if rate is None and self.optimizer == "momentum":
            rate = catalog.architectures.entry(self.architecture).lr or 0.05
        elif rate is None:
            rate = getattr(catalog.create("optimizers", self.optimizer), "lr", None)
        check_number(rate, "SimulatorClassifier learning_rate")
        check_number(self.weight_decay, "SimulatorClassifier weight_decay")
        decay = {"weight_decay": self.weight_decay} if self.weight_decay else {}
        return catalog.create("optimizers", self.optimizer, lr=CosineDecay(rate, steps), **decay)


def _on_one_scale(X: np.ndarray, network: Network) -> np.ndarray:
    """The columns to bring to one scale each: features (n_samples, n_features), or all pixels (n, 1)."""
    return X.reshape(-1, 1) if len(network.input_shape) > 1 else X


def _scaled(X: np.ndarray, scaler: StandardScaler, network: Network) -> np.ndarray:
    """The features on the scale that was measured, (n_samples, n_features)."""
    return scaler.transform(_on_one_scale(X, network)).reshape(X.shape)


def _samples(X: np.ndarray, network: Network) -> np.ndarray:
    """Features as samples of the network, (n_samples, channels, *space)."""
    return X.reshape(len(X), *network.input_shape)


def _reading_raw(network: Network, scaler: StandardScaler) -> Network:
    """The network with the scaling of its inputs as a first layer."""
    start, name = network.input_name, "standardise"
    while name in network.nodes:
        name += "-"
    nodes: list[tuple[str, Layer, list[str], str | None]] = [(name, Standardise(), [start], None)]
    nodes += [
        (node.name, node.layer, [name if source == start else source for source in node.inputs], node.share)
        for node in network.nodes.values()
        if node.name != start
    ]
    shape = network.input_shape
    numbers = {"mean": scaler.mean_, "scale": scaler.scale_}
    scale = {f"{name}.{key}": np.resize(values, shape) for key, values in numbers.items()}
    whole = Network.input(shape, start, dtype=network.dtype, engine=network.engine).extended(nodes)
    whole = whole.with_params(network.params).with_buffers({**network.buffers, **scale})
    return whole.subnetwork(network.outputs)


def _plain_labels(classes: np.ndarray) -> dict[str, Any]:
    """The labels as JSON knows them, and their type."""
    values = classes.tolist()
    if classes.dtype.kind not in _LABELS or not all(isinstance(value, (str, bool, int, float)) for value in values):
        raise FileError(
            f"SimulatorClassifier.save: expected labels of text, integers, floats or bools, got {classes.dtype}; fit "
            "it with names as text"
        )
    return {"values": values, "dtype": classes.dtype.str}


def _labels(told: Any) -> np.ndarray:
    """The labels that `_plain_labels` wrote."""
    values, dtype = told["values"], np.dtype(str(told["dtype"]))
    kinds = {type(value) for value in values}
    if dtype.kind not in _LABELS or not isinstance(values, list) or not kinds <= {str, bool, int, float}:
        raise ValueError("labels of another kind")
    labels = np.array(values, dtype)
    if labels.tolist() != values or len(np.unique(labels)) != len(values):
        raise ValueError("labels that are not distinct, or of another type")
    return labels
