"""One HTML file that shows a network: nothing else is needed, no network, no Python."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

__all__ = ["page"]

_MODULES = ("core.js", "views.js", "app.js")  # in the order in which they use each other


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
