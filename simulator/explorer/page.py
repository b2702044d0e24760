"""One HTML file that shows a network: nothing else is needed, no network, no Python; in notebooks a cell shows it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import tempfile
import webbrowser
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from simulator.data import Dataset
from simulator.errors import FileError, ShapeError, brief
from simulator.explorer.payload import opens_at, payload
from simulator.network import Network
from simulator.windows import check_size
from simulator.writing import write_atomically

__all__ = ["Page", "explore", "page"]

_MODULES = ("core.js", "views.js", "app.js")  # in the order in which they use each other


@dataclass(frozen=True, repr=False)
class Page:
    """A network as a page; the last line of a notebook's cell shows it.

    Parameters
    ----------
    title : str
        What the network is called.
    html : str
        The whole page.
    """

    title: str
    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page into one file, which needs neither Python nor a network.

        Raises
        ------
        FileError
            If it is no .html file, or cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise FileError(f"explore: expected the name of an .html file, got {brief(str(path))}; write page.html")
        write_atomically(path, lambda temporary: temporary.write_text(self.html, encoding="utf-8"))
        return path

    def open(self) -> Path:
        """Write the page into a temporary file, and open it in the browser if there is one.

        Returns
        -------
        Path
            Of the file.
        """
        path = self.save(Path(tempfile.mkdtemp(prefix="simulator-")) / "page.html")
        webbrowser.open(path.resolve().as_uri())
        return path

    def __repr__(self) -> str:
        return f"Page of {self.title or 'a network'}, {len(self.html) / 1000:,.0f} kB"

    def _repr_html_(self) -> str:
        frame = f'<iframe srcdoc="{html.escape(self.html)}" title="{html.escape(self.title)}"'
        return f'{frame} style="width: 100%; height: 720px; border: 0"></iframe>'


def explore(
    network: Network,
    data: Dataset | Any,
    *,
    sample: int = 0,
    samples: int = 60,
    layer: str | None = None,
    title: str = "",
    dark: bool = False,
) -> Page:
    """A network as a page on which its matrices can be pointed at, changed and trained.

    Parameters
    ----------
    network : Network
        With weights, one input and one output.
    data : Dataset or array_like, (n, channels, *space)
        The samples to show; labels of a dataset let the page train.
    sample : int, default 0
        Number of the first sample on the page.
    samples : int, default 60
        How many there are on the page, from that one on.
    layer : str, optional
        The layer that the page opens with. Default: the first that has weights.
    title : str, optional
        What the network is called.
    dark : bool, default False
        Light words on a dark page.

    Returns
    -------
    Page

    Raises
    ------
    ShapeError
        If the network has several inputs or outputs, or too many connections, if there is no such sample, or if the
        layer has no matrix.
    UnknownNameError
        If there is no such layer.
    SimulatorError
        If the network has no weights.

    Examples
    --------
    >>> from simulator import Catalog
    >>> digits = Catalog().load_data("digits", (1, 28, 28))
    >>> explore(Catalog().build("lenet5", rng=0), digits, samples=5, title="lenet5").title
    'lenet5'
    """
    labels = names = None
    if isinstance(data, Dataset):
        whole = data.joined()
        inputs: Any = whole.inputs
        if whole.labels is not None:
            names = whole.classes or tuple(map(str, range(int(whole.labels.max()) + 1)))
            labels = [names[label] for label in whole.labels]
    else:
        inputs = np.asarray(data)
    if type(sample) is not int or not 0 <= sample < len(inputs):
        raise ShapeError(
            f"explore sample: expected a number from 0 to {len(inputs) - 1}, got {brief(sample)}; choose one of these"
        )
    part = slice(sample, sample + check_size(samples, "explore samples"))
    told = payload(
        network,
        inputs[part],
        title=title,
        numbers=range(len(inputs))[part],
        labels=None if labels is None else labels[part],
        classes=names,
    )
    told["layer"] = opens_at(told, layer)
    return Page(title, page({**told, "dark": bool(dark)}))


def page(payload: dict[str, Any]) -> str:
    """The page of a payload.

    Parameters
    ----------
    payload : dict
        What `simulator.explorer.payload` gave.

    Returns
    -------
    str
        HTML with everything in it. Its policy lets nothing but its own script run and loads nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from simulator import Conv, Network
    >>> from simulator.explorer import payload
    >>> net = Network.sequential((1, 8, 8), [Conv(2, kernel=3)], rng=0)
    >>> page(payload(net, np.ones((1, 1, 8, 8)), title="one layer")).startswith("<!doctype html>")
    True
    """
    folder = files("simulator.explorer") / "static"
    style = (folder / "style.css").read_text("utf-8")
    modules = [(folder / name).read_text("utf-8") for name in _MODULES]
    script = "(() => {\n" + "\n".join(map(_joined, modules)) + "\n})();"
    data = json.dumps(payload).replace("<", "\\u003c")  # so that no name ends the element
    parts = {
        "policy": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}",
        "title": html.escape(str(payload["title"]) or "simulator"),
        "style": style,
        "payload": data,
        "script": script,
    }
    template = (folder / "page.html").read_text("utf-8")
    return re.sub(r"\{(policy|title|style|payload|script)\}", lambda found: parts[found[1]], template)


def _joined(module: str) -> str:
    """A module as a part of one script: what it imports is there already."""
    module = re.sub(r"^import [^;]*;\n", "", module, flags=re.M)
    module = re.sub(r"^export \{[^}]*\};\n", "", module, flags=re.M)
    return re.sub(r"^export ", "", module, flags=re.M)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
