"""The page in a browser, with the network off: what it says is what Python says."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from simulator import Catalog, Conv, Dense, Network, ReLU
from simulator.explorer import page, payload
from simulator.lab import affine, paths


@pytest.fixture(scope="module")
def lenet5():
    catalog = Catalog()
    return catalog.build("lenet5", rng=0), catalog.load_data("digits", (1, 28, 28)).take(slice(20))


@pytest.fixture(scope="module")
def html(lenet5):
    network, data = lenet5
    told = payload(network, data.inputs, title="lenet5", labels=[str(k) for k in data.labels], classes=data.classes)
    return page(told)


def test_the_budget(html):
    assert len(html) < 1_000_000
    code = sum(len(part) for part in re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", html, re.S)[0])
    assert code < 150_000


def test_names_are_text_and_end_no_element():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    net = Network.input((1, 4)).add(Conv(1, 3), name="it", rng=0)
    text = page(payload(net, np.ones((1, 1, 4)), title=evil, labels=[evil], classes=[evil, evil]))
    assert text.count("<script") == 2
    assert "<img" not in text
    (told,) = re.findall(r'<script id="payload" type="application/json">(.*?)</script>', text, re.S)
    assert json.loads(told)["title"] == evil


def test_it_opens_with_a_unit_framed_and_computes_what_python_does(opened, html, lenet5):
    network, data = lenet5
    shown = opened(html)
    assert shown.locator("#said").inner_text() == "conv1[0, 14, 14] reads 25 units of input."
    value = network.run(data.inputs[:1])["conv1"][0, 0, 14, 14]
    assert shown.locator("#map-name").inner_text() == f"conv1: conv1[0, 14, 14] = {value:.3g}"
    differ = float(re.search(r"differ by (\S+) of", shown.locator("#numbers").inner_text())[1])
    assert differ < 1e-5  # float32 against double
    assert "107,736 connections share 150 weights" in shown.locator("#numbers").inner_text()


def test_a_weight_that_is_pinned_says_how_often_it_is_used_and_can_be_changed(opened, html, lenet5):
    network, data = lenet5
    shown = opened(html)
    shown.select_option("#layer", "conv2")
    box = shown.locator("#kernel").bounding_box()
    shown.mouse.click(box["x"] + 4, box["y"] + 4)
    uses = network.nodes["conv2"].pattern.sharing(0)[0].size
    assert "conv2.weight[0, 0, 0, 0]" in shown.locator("#weight").inner_text()
    assert f"used {uses} times" in shown.locator("#weight").inner_text()
    shown.fill("#weight input", "0.5")
    shown.press("#weight input", "Enter")
    changed = {name: array.copy() for name, array in network.params.items()}
    changed["conv2.weight"][0, 0, 0, 0] = 0.5
    logits = shown.evaluate("Array.from(explorer.run().found.get('dense3'))")
    np.testing.assert_allclose(logits, network.with_params(changed).predict(data.inputs[:1])[0], rtol=1e-4, atol=1e-5)


def test_training_drawing_samples_and_the_state_in_the_link(opened, html):
    shown = opened(html)
    shown.fill("#rate", "0.02")
    losses = []
    for _ in range(12):
        shown.click("#step")
        losses.append(float(re.search(r"loss ([\d.e+-]+)", shown.locator("#loss").inner_text())[1]))
    assert losses[-1] < losses[0]
    shown.click("#reset")
    assert "differ by" in shown.locator("#numbers").inner_text()
    shown.click("#after")
    assert shown.locator("#sample").inner_text().startswith("sample 1, a ")
    shown.click("#clear")
    box = shown.locator("#input").bounding_box()
    shown.mouse.move(box["x"] + 40, box["y"] + 40)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 90, box["y"] + 120, steps=9)
    shown.mouse.up()
    assert shown.evaluate("Math.max(...explorer.run().found.get('input'))") == 1
    assert shown.locator("#sample").inner_text() == "your drawing"
    shown.keyboard.press("ArrowRight")
    before = shown.evaluate("document.documentElement.className")
    shown.click("#dark")
    assert {before, shown.evaluate("document.documentElement.className")} == {"", "dark"}
    state = json.loads(shown.evaluate("decodeURIComponent(location.hash.slice(1))"))
    assert (state["layer"], state["sample"]) == ("conv1", -1)


def test_a_small_layer_has_a_colour_for_each_weight(opened):
    net = Network.sequential((1, 5, 5), [Conv(1, 3), ReLU(), Dense(2)], rng=0)
    shown = opened(page(payload(net, np.arange(25.0).reshape(1, 1, 5, 5))))
    assert shown.locator("#legend").inner_text().startswith("equal colours are equal weights")
    shown.select_option("#mode", "value")
    assert shown.locator("#legend").inner_text().startswith("colours are values")
    box, view = shown.locator("#matrix").bounding_box(), shown.evaluate("explorer.view()")
    row, column = 4, 7  # the second connection of unit 4
    x, y = ((at - view[of] + 0.5) * view["cell"] for at, of in ((column, "column"), (row, "row")))
    shown.mouse.move(box["x"] + x, box["y"] + y)
    shown.wait_for_timeout(200)
    said = "conv1[0, 1, 1] reads 9 units of input; conv1.weight[0, 0, 0, 1] = "
    assert shown.locator("#said").inner_text().startswith(said)
    assert shown.locator("#said").inner_text().endswith("is used 9 times.")


def test_on_a_phone_one_view_stands_below_the_other(opened, html):
    shown = opened(html, viewport={"width": 390, "height": 844})
    boxes = [shown.locator(f"#{name}").bounding_box() for name in ("left", "middle", "right")]
    assert all(b["y"] >= a["y"] + a["height"] - 1 for a, b in itertools.pairwise(boxes))
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390


def test_backward_a_column_is_a_sum_and_a_shared_gradient_is_one_over_its_uses(opened, html, lenet5):
    network, data = lenet5
    shown = opened(html)
    shown.select_option("#way", "backward")
    trace = network.with_dtype("float64").run(data.inputs[:1].astype(np.float64))
    p = np.exp(trace[network.output_name][0] - trace[network.output_name].max())
    gradients = trace.backward((p / p.sum() - np.eye(10)[data.labels[0]])[None])
    wanted = gradients.inputs["input"][0, 0, 14, 14]
    named = re.fullmatch(r"∂loss/∂input: ∂loss/∂input\[0, 14, 14\] = (\S+)", shown.locator("#input-name").inner_text())
    assert float(named[1]) == pytest.approx(wanted, rel=0.05)
    assert shown.locator("#formula").inner_text().endswith(f"= {named[1]}")
    assert shown.locator("#said").inner_text().startswith("input[0, 14, 14] is read by 150 units of conv1")
    box = shown.locator("#kernel").bounding_box()
    shown.mouse.click(box["x"] + 6, box["y"] + 6)
    told = re.search(
        r"conv1\.weight\[(\d), 0, (\d), (\d)\] = .*∂loss/∂weight = (\S+), the sum of (\d+) products",
        shown.locator("#weight").inner_text(),
    )
    o, r, c = map(int, told.groups()[:3])
    assert float(told[4]) == pytest.approx(gradients.params["conv1.weight"][o, 0, r, c], rel=0.02)
    tie = np.ravel_multi_index((o, r, c), (6, 5, 5))
    assert int(told[5]) == network.nodes["conv1"].pattern.sharing(tie)[0].size


def test_a_layer_is_untied_trained_and_tied_again(opened, html, lenet5):
    network, _ = lenet5
    shown = opened(html)
    logits = shown.evaluate("Array.from(explorer.run().found.get('dense3'))")
    assert shown.locator("#sharing button[value=dense]").is_disabled()  # 3.7 million cells
    shown.click("#sharing button[value=untied]")
    text = shown.locator("#numbers").inner_text()
    assert "107,736 connections, 107,736 weights, none shared" in text
    assert f"the network has {sum(a.size for a in network.params.values()) - 150 + 107_736:,} params" in text
    np.testing.assert_allclose(shown.evaluate("Array.from(explorer.run().found.get('dense3'))"), logits, rtol=1e-12)
    shown.click("#step")
    shown.click("#sharing button[value=shared]")
    assert "107,736 connections share 150 weights" in shown.locator("#numbers").inner_text()
    shown.click("#reset")
    assert shown.evaluate("Array.from(explorer.run().found.get('dense3'))") == logits


def test_fields_the_chosen_matrix_and_one_matrix(opened, html, lenet5):
    network, data = lenet5
    shown = opened(html)
    shown.click("#field")
    shown.select_option("#layer", "pool1")
    counts = paths(network, "pool1[0, 7, 7]")
    said = (
        f"sees {np.count_nonzero(counts)} of 784 units of input along {counts.sum()} paths and reaches 10 of 10 units"
    )
    assert said in shown.locator("#said").inner_text()
    assert "4,704 connections, of which the maximum chose 1,176" in shown.locator("#numbers").inner_text()
    shown.locator(".bar").nth(7).click()
    one = affine(network.with_dtype("float64"), data.inputs[0].astype(np.float64))
    told = re.search(r"= (\S+) \+ (\S+) = (\S+)$", shown.locator("#row-name").inner_text())
    wanted = [one.y[7] - one.b[7], one.b[7], one.y[7]]
    np.testing.assert_allclose([float(number) for number in told.groups()], wanted, rtol=0.01, atol=1e-4)


def test_the_matrix_is_saved_as_a_picture(opened, html, tmp_path):
    image = pytest.importorskip("PIL.Image")
    shown = opened(html)
    with shown.expect_download() as waiting:
        shown.click("#save")
    assert waiting.value.suggested_filename == "conv1-matrix.png"
    waiting.value.save_as(tmp_path / "it.png")
    with image.open(tmp_path / "it.png") as picture:
        assert picture.width == 1920
        assert len(picture.convert("RGB").getcolors(10**6)) > 20


def test_more_paths_than_can_be_counted_exactly_are_about_so_many(opened):
    layers = [layer for _ in range(9) for layer in (Dense(100), ReLU())]
    net = Network.sequential((100,), layers, rng=0)
    shown = opened(page(payload(net, np.ones((1, 100)), title="deep")))
    shown.click("#field")
    shown.select_option("#layer", "dense9")
    assert "along about 1.00e+18 paths" in shown.locator("#said").inner_text()
