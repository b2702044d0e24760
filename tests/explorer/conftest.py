"""Runs the page's own code: its core in node, the whole page in a browser, offline; where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files

import pytest


@pytest.fixture
def core(tmp_path):
    """What JavaScript returns: core("net.count", payload); `net` is the decoded payload, core.js is all there."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    module = tmp_path / "core.mjs"
    module.write_text((files("simulator.explorer") / "static" / "core.js").read_text("utf-8"))

    def run(expression, payload):
        (tmp_path / "payload.json").write_text(json.dumps(payload))
        (tmp_path / "run.mjs").write_text(
            'import { readFileSync } from "node:fs";\n'
            'import * as core from "./core.mjs";\n'
            'const net = await core.decoded(JSON.parse(readFileSync("payload.json", "utf8")));\n'
            "const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);\n"
            f"console.log(JSON.stringify(await (async () => ({expression}))(), plain));\n"
        )
        done = subprocess.run([node, "run.mjs"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def chromium():
    """A browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, tmp_path):
    """Open the HTML of a page with the network off; at the end nothing was asked for and nothing complained."""
    faults, contexts = [], []

    def open_page(html, fragment="", **options):
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 720}, "offline": True, **options})
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url == path.as_uri() + fragment else faults.append(asked.url))
        page.goto(path.as_uri() + fragment)
        page.locator("#said:not(:empty)").wait_for(timeout=20_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
