"""Any data set of numbers on openml.org, by its name: MNIST, Fashion-MNIST, iris and thousands more."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import scipy

from simulator import Dataset, FileError, ShapeError, SimulatorError, hookimpl
from simulator.data import fingerprints_of, fitted
from simulator.errors import brief

_SOURCE = re.compile(r"([\w.(),+-]+?)(?:@([1-9]\d*))?", re.ASCII)


def openml(name, shape=None):
    """Data sets of openml.org: by name ``openml:mnist_784``, by version ``openml:mnist_784@1``, by id ``openml:554``.

    Parameters
    ----------
    name : str
        Name, name@version or id. Without a version it is the oldest one that is active.
    shape : (channels, *space), optional
        Of one sample. Default: (features,), as they are. Features of square pictures with that many channels, such as
        784 for one channel, are brought to this size by interpolation; any others must be as many as the shape holds.

    Returns
    -------
    Dataset
        Inputs (n, features) or (n, *shape) in float32, targets int64 labels (n,), or float32 values where the target is
        a number. Labels are numbered in the order of the class names: of whole numbers by value, of others by alphabet.

    Raises
    ------
    FileError
        If openml.org cannot be reached, has no such data set, or scikit-learn cannot read it as numbers.
    ShapeError
        If a feature is a category, there is no target or a mixed one, or the features do not fit the shape.
    SimulatorError
        If scikit-learn is missing.

    Notes
    -----
    Features are as published, with one exception: pictures with values from 0 to exactly 255 are divided by 255, as
    pictures from files are. scikit-learn keeps what it has downloaded in ``~/scikit_learn_data``, or in the folder that
    the environment variable SCIKIT_LEARN_DATA names; the second time needs no connection. Reading 70,000 pictures of
    784 features takes a minute or two each time; for many runs, save them once with ``numpy.savez`` and use npz.

    References
    ----------
    J. Vanschoren, J. van Rijn, B. Bischl, L. Torgo, "OpenML: networked science in machine learning", 2013.
    """
    who = f"data openml {name}"
    bunch = _fetched(who, name)
    if bunch.categories:
        raise ShapeError(
            f"{who}: expected numbers only, got categories in {', '.join(list(bunch.categories)[:3])}; choose data "
            "with numeric features, or encode these with scikit-learn and build a Dataset"
        )
    features = bunch.data.toarray() if scipy.sparse.issparse(bunch.data) else np.asarray(bunch.data)
    if features.dtype.kind not in "fiub" or features.ndim != 2:
        raise ShapeError(
            f"{who}: expected numbers (n, features), got {features.dtype} {features.shape}; choose data with numeric "
            "features"
        )
    targets, classes = _targets(who, bunch.target)
    inputs = features.astype(np.float32)
    prints = fingerprints_of(inputs)  # in any size they are the same samples
    data = Dataset(inputs, targets, classes, fingerprints=prints)
    return data if shape is None else _shaped(who, data, tuple(shape))


def _fetched(who, name):
    """What scikit-learn downloads, or finds on this machine."""
    from http.client import HTTPException

    try:
        from sklearn.datasets import fetch_openml
    except ImportError:
        raise SimulatorError(
            f"{who}: expected scikit-learn, which downloads them, got none; pip install scikit-learn"
        ) from None
    source = _SOURCE.fullmatch(name)
    if source is None:
        raise ShapeError(
            f"{who}: expected NAME, NAME@VERSION or the number of a data set, got {brief(name)}; write for example "
            "openml:mnist_784@1"
        )
    stem, version = source.groups()
    if stem.isdigit() and version is None:
        wanted = {"data_id": int(stem)}
    else:
        wanted = {"name": stem, "version": "active" if version is None else int(version)}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "A network error occurred"
            )  # it tries again, and the last one is reported
            return fetch_openml(**wanted, as_frame=False, parser="liac-arff")  # the parser that needs no pandas
    except (OSError, HTTPException) as error:
        raise FileError(
            f"{who}: expected a connection to openml.org, got {brief(error)}; connect, or use data "
            "that is bundled: digits"
        ) from error
    except Exception as error:  # also what its parsers raise, which have no family of errors
        raise FileError(
            f"{who}: expected a data set of numbers on openml.org, got {brief(error)}; look for its "
            "name, version and features on https://www.openml.org"
        ) from error


def _targets(who, target):
    """Labels (n,) and the names of the classes, or values (n, ...) and no names."""
    if target is None or (target.dtype.kind not in "fiu" and target.ndim != 1):
        got = "none" if target is None else f"{target.shape[1]} columns of categories"
        raise ShapeError(
            f"{who}: expected one column of classes or numbers as the target, got {got}; choose other data"
        )
    if target.dtype.kind in "fiu":
        return target.astype(np.float32), ()
    names, labels = np.unique(target.astype(str), return_inverse=True)
    if all(name.isdecimal() for name in names):
        order = np.argsort(names.astype(float), kind="stable")
        names, labels = names[order], np.argsort(order)[labels]
    return labels.astype(np.int64), tuple(names.tolist())


def _shaped(who, data, shape):
    """Features (n, features) as samples of `shape`."""
    if min(shape, default=0) < 1:
        raise _unfit(who, data, shape)
    try:
        data = fitted(data, shape, who)
    except ShapeError:
        raise _unfit(who, data, shape) from None
    if len(shape) == 3 and data.inputs.min() >= 0 and data.inputs.max() == 255:
        inputs = data.inputs / np.float32(255)
        data = replace(data, inputs=inputs, preparation=data.preparation.then("divided by 255"))
    return data


def _unfit(who, data, shape):
    return ShapeError(
        f"{who}: expected features that fill samples of shape {shape}, or square pictures with as many channels, got "
        f"{data.shape[0]}; use a shape of as many numbers"
    )


@hookimpl
def register_datasets(register):
    register("openml", openml, known=("mnist_784", "Fashion-MNIST", "Kuzushiji-MNIST", "iris"))
