"""The scikit-learn classifier: scikit-learn's own checks, real digits, every argument and every error."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import simulator
from simulator import FileError, ShapeError, SimulatorError, UnknownNameError

pytest.importorskip("sklearn", "1.6")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from simulator import SimulatorClassifier

PLUGIN = '''
"""An architecture with a head that helps in training, one that does not classify, and a layer of its own."""
from dataclasses import dataclass
from simulator import FunctionLayer, Network, hookimpl

@dataclass(frozen=True)
class Double(FunctionLayer):
    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        return 2 * xs[0], lambda dy: ((2 * dy,), {}), {}

def two_heads(make, input_shape=(4,), classes=10, rng=None):
    network = Network.input(input_shape).add(make("double"), name="double")
    network = network.add(make("dense", classes), "double", name="helps", rng=rng)
    return network.add(make("dense", classes), "double", name="predicts", rng=rng)

def echo(make, input_shape=(4,), rng=None):
    return Network.input(input_shape).add(make("double"))

@hookimpl
def register_layers(register):
    register("double", Double)

@hookimpl
def register_architectures(register):
    register("two-heads", two_heads, epochs=30, losses={"predicts": "cross-entropy", "helps": ("cross-entropy", 0.3)})
    register("echo", echo, task="reconstruct")
'''


@parametrize_with_checks([SimulatorClassifier()])
def test_what_scikit_learn_demands(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def blobs():
    """Three classes around three corners, named by words."""
    rng = np.random.default_rng(0)
    labels = np.array(["ant", "bee", "cat"])[np.arange(60) % 3]
    return rng.normal(np.eye(4)[np.arange(60) % 3] * 4, 0.5), labels


def test_handwritten_digits_in_cross_validation(digits):
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(SimulatorClassifier(epochs=5, random_state=0), *digits, cv=folds)
    assert scores.mean() >= 0.95


def test_a_convolutional_net_reads_the_features_as_pictures(digits):
    X, y = digits
    train_X, test_X, train_y, test_y = train_test_split(X.astype(np.float32) / 16, y, stratify=y, random_state=0)
    model = SimulatorClassifier(
        "resnet8", input_shape=(1, 8, 8), epochs=4, options={"width": 6}, scale=False, random_state=0
    ).fit(train_X, train_y)
    assert model.network_.input_shape == (1, 8, 8)
    assert model.network_.dtype == np.float32
    assert model.score(test_X, test_y) >= 0.85
    pictures = test_X.reshape(-1, 1, 8, 8)
    np.testing.assert_allclose(model.decision_function(test_X), model.network_.predict(pictures), rtol=1e-4, atol=1e-4)


def test_it_computes_what_its_weights_say(blobs):
    X, y = blobs
    model = SimulatorClassifier(epochs=3, random_state=0).fit(X, y)
    w = model.network_.params
    hidden = np.maximum((X - X.mean(axis=0)) / X.std(axis=0) @ w["dense1.weight"].T + w["dense1.bias"], 0)
    logits = hidden @ w["dense2.weight"].T + w["dense2.bias"]
    np.testing.assert_allclose(model.decision_function(X), logits, rtol=1e-10, atol=1e-12)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-10)
    assert model.predict(X).tolist() == [["ant", "bee", "cat"][k] for k in logits.argmax(axis=1)]
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert model.loss_curve_[-1] < model.loss_curve_[0]


FRESH = """
import sys
import numpy as np
from simulator import SimulatorClassifier
model = SimulatorClassifier.load(sys.argv[1])
np.save(sys.argv[2], model.predict_proba(np.load(sys.argv[3])))
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_model_predicts_the_same_in_a_fresh_process(digits, tmp_path, dtype):
    X, y = digits
    X = X.astype(dtype) + 100  # it depends on the scaling
    model = SimulatorClassifier(epochs=3, random_state=0).fit(X[:1500], y[:1500])
    assert model.score(X[1500:], y[1500:]) > 0.85
    model.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", X[1500:])
    paths = [str(tmp_path / name) for name in ("model", "p.npy", "x.npy")]
    subprocess.run([sys.executable, "-c", FRESH, *paths], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(X[1500:]))


def test_its_network_alone_has_the_scaling(digits, tmp_path):
    X, y = digits
    model = SimulatorClassifier(epochs=3, random_state=0).fit(X[:1500], y[:1500])
    simulator.save(tmp_path / "net", model.network_)
    network = simulator.load(tmp_path / "net").network
    predicted = network.predict(X[1500:].reshape(-1, 1, 8, 8)).argmax(axis=1)
    np.testing.assert_array_equal(predicted, model.predict(X[1500:]))
    np.testing.assert_array_equal(network.buffers["standardise.mean"], np.full((1, 8, 8), model.scaler_.mean_))


def test_pictures_have_one_scale_whatever_a_pixel_is(digits):
    """A pixel that is black but for one sample is on the scale of all; by itself it would be blown up."""
    X, y = digits
    X = X[:1200].copy()
    assert not X[:, 0].any()
    X[0, 0] = 16
    model = SimulatorClassifier(epochs=5, random_state=0).fit(X, y[:1200])
    assert model.scaler_.mean_ == pytest.approx([X.mean()])
    assert model.scaler_.scale_ == pytest.approx([X.std()])
    stray, labels = digits[0][1200:].copy(), y[1200:]
    score = model.score(stray, labels)
    stray[:, 0] = 4
    assert abs(model.score(stray, labels) - score) < 0.02
    each = SimulatorClassifier(epochs=5, random_state=0, input_shape=(64,)).fit(X, y[:1200])
    assert each.scaler_.mean_ == pytest.approx(X.mean(axis=0))
    assert each.score(stray, labels) < score - 0.2


def test_a_saved_model_reads_pictures_from_files(digits, tmp_path, capsys, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    from simulator.cli import main

    X, y = digits
    monkeypatch.chdir(tmp_path)
    model = SimulatorClassifier(epochs=5, random_state=0).fit(X, y)
    model.save("model")
    again = SimulatorClassifier.load("model")
    assert again.preparation_ == model.preparation_
    again.save("again")
    for k in range(5):  # black ink on white paper
        pillow.fromarray(np.uint8(255 - X[k].reshape(8, 8) / 16 * 255)).save(f"{k}.png")
    with pytest.raises(SystemExit):
        main(["predict", "again", "--image", *(f"{k}.png" for k in range(5)), "--json"])
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [row["prediction"] for row in rows] == [str(label) for label in model.predict(X[:5])]
    expected = model.predict_proba(X[:5]).max(axis=1)
    np.testing.assert_allclose([row["probability"] for row in rows], expected, atol=0.02)
    assert rows[0]["done"][-1] == "scaled from 0 to 1 to 0 to 16"


def test_the_command_line_evaluates_a_saved_model(digits, tmp_path, capsys, monkeypatch):
    from simulator.cli import main

    X, y = digits
    monkeypatch.chdir(tmp_path)
    names = np.array([f"digit {n}" for n in range(10)])
    model = SimulatorClassifier(epochs=3, random_state=0).fit(X[:1500], names[y[:1500]])
    model.save("model")
    np.savez("rest.npz", x=X[1500:].reshape(-1, 1, 8, 8), y=y[1500:], classes=names)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "model", "--data", "rest.npz", "--all", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert report["accuracy"] == pytest.approx(model.score(X[1500:], names[y[1500:]]))
    assert report["classes"] == names.tolist()


LABELS = {
    "text": np.array(["ä", "no", "yes"]),
    "objects": np.array(["ä", "no", "yes"], dtype=object),
    "integers": np.array([-5, 0, 7]),
    "small integers": np.array([0, 1, 2], np.uint8),
    "floats": np.array([-1.0, 0.0, 1.0]),
    "bools": np.array([False, True]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_and_parameters_come_back(blobs, tmp_path, labels):
    X, names = blobs
    y = labels[np.unique(names, return_inverse=True)[1] % len(labels)]
    options = {"hidden": (5, 4)}
    model = SimulatorClassifier(epochs=2, options=options, input_shape=(X.shape[1],), random_state=3).fit(X, y)
    model.save(tmp_path / "model")
    back = SimulatorClassifier.load(tmp_path / "model")
    assert back.classes_.dtype == model.classes_.dtype
    assert back.predict(X).tolist() == model.predict(X).tolist()
    assert [type(label) for label in back.classes_.tolist()] == [type(label) for label in model.classes_.tolist()]
    assert {**back.get_params(), "options": None} == {**model.get_params(), "options": None}
    assert back.options == {"hidden": [5, 4]}
    assert (back.loss_curve_, back.n_iter_, back.n_features_in_) == (model.loss_curve_, 2, X.shape[1])
    back.fit(X, y)  # it can be trained anew
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


def test_names_of_columns_come_back(blobs, tmp_path):
    X, y = blobs
    model = SimulatorClassifier(epochs=1, random_state=np.random.RandomState(0)).fit(X, y)
    model.feature_names_in_ = np.array([f"f{n}" for n in range(X.shape[1])], dtype=object)  # as of a data frame
    model.save(tmp_path / "model")
    back = SimulatorClassifier.load(tmp_path / "model")
    assert back.random_state is None
    assert (back.feature_names_in_.tolist(), back.feature_names_in_.dtype) == (model.feature_names_in_.tolist(), object)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        back.predict(X)


def test_layers_of_a_plugin_come_from_the_plugin_that_is_given(blobs, tmp_path):
    X, y = blobs
    (tmp_path / "heads.py").write_text(PLUGIN)
    plugins = [tmp_path / "heads.py"]
    model = SimulatorClassifier("two-heads", plugins=plugins, epochs=1, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    with pytest.raises(FileError, match=r"expected layer 'double' of plugin 'heads' .* or load its file with -p"):
        SimulatorClassifier.load(tmp_path / "model")
    back = SimulatorClassifier.load(tmp_path / "model", plugins=plugins)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


def test_what_a_model_cannot_keep_is_refused(blobs, tmp_path):
    X, y = blobs
    with pytest.raises(NotFittedError):
        SimulatorClassifier().save(tmp_path / "model")
    model = SimulatorClassifier(epochs=1).fit(X, y)
    model.classes_ = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[D]")
    with pytest.raises(
        FileError, match=r"expected labels of text, integers, floats or bools, got datetime64\[D\]; fit"
    ):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_files_that_hold_no_model_are_refused(blobs, tmp_path):
    X, y = blobs
    model = SimulatorClassifier(epochs=1).fit(X, y)
    simulator.save(tmp_path / "net", model.network_)
    with pytest.raises(FileError, match="expected a file that SimulatorClassifier.save wrote, got another network, .*"):
        SimulatorClassifier.load(tmp_path / "net")
    model.save(tmp_path / "model")
    good = simulator.load(tmp_path / "model").info
    for keys, value in (
        (("labels", "values"), ["ant", "bee"]),
        (("labels", "values"), ["ant", "bee", 3]),
        (("labels", "values"), ["ant", "bee", "bee"]),
        (("labels", "dtype"), "M8[D]"),
        (("labels",), None),
        (("params", "plugins"), ["evil.py"]),
        (("params", "engine"), "none"),
        (("params",), {}),
        (("features",), [1, 2]),
        (("loss_curve",), ["x"]),
    ):
        info = json.loads(json.dumps(good))
        place = info["classifier"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        simulator.save(tmp_path / "bad", model.network_, info=info)
        with pytest.raises(
            FileError, match=r"expected what SimulatorClassifier.save wrote, got .*; the file is damaged"
        ):
            SimulatorClassifier.load(tmp_path / "bad")


def test_of_two_classes_the_second_is_positive(blobs):
    X, y = blobs
    X, y = X[y != "cat"], y[y != "cat"]
    model = SimulatorClassifier(epochs=3, random_state=0).fit(X, y)
    decision, proba = model.decision_function(X), model.predict_proba(X)
    assert decision.shape == (40,)
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X) == "bee", decision > 0)


def test_features_in_float32_stay_so(blobs):
    X, y = blobs
    model = SimulatorClassifier(epochs=2, random_state=0).fit(X.astype(np.float32), y)
    assert model.network_.dtype == np.float32
    assert model.decision_function(X).dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-14)
    assert SimulatorClassifier(epochs=2).fit(X, y).network_.dtype == np.float64


def test_one_random_state_gives_one_result(blobs):
    X, y = blobs

    def run(random_state):
        return SimulatorClassifier(epochs=2, random_state=random_state).fit(X, y).decision_function(X)

    np.testing.assert_array_equal(run(3), run(3))
    np.testing.assert_array_equal(run(np.random.RandomState(3)), run(3))
    assert not np.array_equal(run(3), run(4))


def test_predictions_in_many_chunks_are_those_of_one_sample_each(blobs):
    X, y = blobs
    model = SimulatorClassifier(epochs=2, random_state=0).fit(X, y)
    many = np.tile(X, (10, 1))
    np.testing.assert_allclose(model.predict_proba(many), np.tile(model.predict_proba(X), (10, 1)), rtol=1e-12)


def test_a_pipeline_in_a_grid_search(blobs):
    pipeline = make_pipeline(MinMaxScaler(), SimulatorClassifier(batch_size=4, random_state=0))
    grid = {
        "simulatorclassifier__epochs": [1, 10],
        "simulatorclassifier__options": [{"hidden": ()}, {"hidden": (8,)}],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*blobs)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ == 1
    best = search.best_params_
    shapes = search.best_estimator_[-1].network_.param_shapes
    assert len(shapes) == 2 * (1 + len(best["simulatorclassifier__options"]["hidden"]))


def test_its_probabilities_can_be_calibrated(blobs):
    X, y = blobs
    model = CalibratedClassifierCV(SimulatorClassifier(epochs=5, random_state=0), cv=2).fit(X, y)
    assert model.score(X, y) == 1


def test_clones_and_pickles_are_the_same_model(blobs, tmp_path):
    joblib = pytest.importorskip("joblib")
    X, y = blobs
    model = SimulatorClassifier(epochs=2, options={"hidden": (5,)}, plugins=(), random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for other in (
        clone(model).fit(X, y),
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
    ):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


@pytest.mark.slow
def test_a_grid_search_in_two_processes(blobs):
    search = GridSearchCV(SimulatorClassifier(random_state=0), {"epochs": [1, 5]}, cv=2, n_jobs=2).fit(*blobs)
    alone = GridSearchCV(SimulatorClassifier(random_state=0), {"epochs": [1, 5]}, cv=2).fit(*blobs)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_a_model_that_cannot_be_trained_again_stays_as_it_was(blobs):
    X, y = blobs
    model = SimulatorClassifier(epochs=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(SimulatorError, match="use a smaller learning rate"):
        model.set_params(learning_rate=1e200).fit(X, y == "ant")
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]


def test_every_epoch_prints_a_line_on_request(blobs, capsys):
    model = SimulatorClassifier(epochs=2, random_state=0).fit(*blobs)
    assert capsys.readouterr().out == ""
    model.set_params(verbose=1).fit(*blobs)
    first, second = model.loss_curve_
    assert capsys.readouterr().out == f"epoch 1/2: loss {first:.4f}\nepoch 2/2: loss {second:.4f}\n"


@pytest.mark.parametrize(
    ("architecture", "n_features", "shape"),
    [("mlp", 64, (1, 8, 8)), ("mlp", 9, (9,)), ("resnet8", 256, (1, 16, 16))],
)
def test_the_shape_of_a_sample_where_none_is_given(architecture, n_features, shape):
    X = np.random.default_rng(0).normal(size=(6, n_features))
    model = SimulatorClassifier(architecture, epochs=1, options={"width": 1}, random_state=0).fit(X, [0, 1] * 3)
    assert model.network_.input_shape == shape


@pytest.mark.parametrize("name", ["momentum", "sgd", "adam"])
def test_the_learning_rate_of_each_optimizer(blobs, name):
    X, y = blobs

    def weights(**given):
        model = SimulatorClassifier(optimizer=name, epochs=2, random_state=0, **given).fit(X, y)
        return model.network_.params["dense1.weight"]

    rate = {"momentum": 0.05, "sgd": 0.1, "adam": 0.001}[name]
    np.testing.assert_array_equal(weights(), weights(learning_rate=rate))
    assert not np.array_equal(weights(), weights(learning_rate=rate / 2))


def test_the_epochs_that_an_architecture_declares(blobs, plugin):
    assert SimulatorClassifier("two-heads", plugins=(plugin,)).fit(*blobs).n_iter_ == 30
    assert SimulatorClassifier("two-heads", plugins=(plugin,), epochs=3).fit(*blobs).n_iter_ == 3


def test_weight_decay_pulls_towards_zero(blobs):
    norms = [
        np.linalg.norm(
            SimulatorClassifier(weight_decay=decay, random_state=0).fit(*blobs).network_.params["dense1.weight"]
        )
        for decay in (0, 0.1)
    ]
    assert norms[1] < 0.5 * norms[0]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Name of an importable module that is a plugin."""
    (tmp_path / "plugin_of_the_estimator.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "plugin_of_the_estimator"
    sys.modules.pop("plugin_of_the_estimator", None)


def test_heads_that_only_training_needs_are_cut_off(blobs, plugin):
    X, y = blobs
    model = SimulatorClassifier("two-heads", plugins=(plugin,), random_state=0).fit(X, y)
    assert model.network_.outputs == ("predicts",)
    assert "helps" not in model.network_.nodes
    assert model.score(X, y) == 1
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    untrained = clone(model).set_params(learning_rate=0, epochs=1).fit(X, y)
    assert untrained.loss_curve_[0] > 1.1 * log_loss(y, untrained.predict_proba(X))  # the other head's loss counts


def test_a_model_with_layers_of_a_file_stays_one_that_can_be_pickled(blobs, tmp_path):
    file = tmp_path / "doubles.py"
    file.write_text(PLUGIN)
    models = [SimulatorClassifier("two-heads", plugins=(file,), epochs=1).fit(*blobs) for _ in range(2)]
    for model in models:
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict_proba(blobs[0]), model.predict_proba(blobs[0]))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"architecture": "nlp"}, UnknownNameError, "expected one of the architectures, got 'nlp'; "),
        ({"optimizer": "sdg"}, UnknownNameError, "expected one of the optimizers, got 'sdg'; "),
        ({"engine": "none"}, UnknownNameError, "expected one of the engines, got 'none'"),
        ({"options": {"hiden": ()}}, UnknownNameError, "mlp: expected one of its options, got 'hiden'"),
        ({"options": {"classes": 3}}, ShapeError, r"options: expected a dict of options of mlp itself, got \{'classes"),
        ({"options": [("hidden", ())]}, ShapeError, "options: expected a dict of options of mlp itself, got .*hidden"),
        ({"epochs": 0}, ShapeError, "SimulatorClassifier epochs: expected an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, ShapeError, "SimulatorClassifier batch_size: expected an integer of at least 1, got 2.5"),
        ({"learning_rate": -1.0}, ShapeError, "SimulatorClassifier learning_rate: expected a finite number .* got -1"),
        ({"weight_decay": "much"}, ShapeError, "SimulatorClassifier weight_decay: expected a finite .* got 'much'"),
        ({"input_shape": (1, 3)}, ShapeError, r"input_shape: expected a shape of 4 units, one per feature, got \(1, 3"),
        ({"input_shape": 4}, ShapeError, "input_shape: expected a shape of 4 units, one per feature, got 4"),
        ({"input_shape": (2.0, 2)}, ShapeError, "SimulatorClassifier input_shape: expected an integer .* got 2.0"),
        (
            {"architecture": "resnet8"},
            ShapeError,
            r"input_shape: expected the shape .* such as \(1, 16, 16\), got none",
        ),
        ({"architecture": "resnet8", "options": {"width": 0}}, ShapeError, "^resnet8 width: expected an integer of"),
        ({"options": {"hidden": (0,)}}, ShapeError, "^mlp hidden: expected an integer of at least 1, got 0"),
        ({"plugins": "p.py"}, ShapeError, "plugins: expected names of modules or paths of files, got 'p.py'"),
        ({"plugins": (4,)}, ShapeError, r"plugins: expected names of modules or paths of files, got \(4,\)"),
        ({"learning_rate": 1e200}, SimulatorError, "use a smaller learning rate"),
    ],
)
def test_arguments_that_cannot_be(blobs, given, error, message):
    model = SimulatorClassifier(**given)
    with pytest.raises(error, match=message):
        model.fit(*blobs)


def test_an_architecture_must_classify(blobs, plugin):
    with pytest.raises(ShapeError, match="expected one with the task classify, got echo with reconstruct"):
        SimulatorClassifier("echo", plugins=[plugin]).fit(*blobs)


def test_data_that_cannot_be(blobs):
    X, y = blobs
    model = SimulatorClassifier(epochs=1)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.predict(X)
    with pytest.raises(ShapeError, match=r"expected samples of at least two classes, got one class, \['ant'\]"):
        model.fit(X[y == "ant"], y[y == "ant"])
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="Found array with dim 4"):
        model.fit(X.reshape(-1, 1, 2, 2), y)
    with pytest.raises(ValueError, match="X has 3 features, but SimulatorClassifier is expecting 4"):
        model.fit(X, y).predict(X[:, :3])


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "simulator.estimator")
    monkeypatch.delitem(vars(simulator), "SimulatorClassifier")
    with pytest.raises(SimulatorError, match=r"expected scikit-learn .*; pip install 'scikit-learn>=1.6'"):
        _ = simulator.SimulatorClassifier


def test_the_simulator_itself_does_not_need_scikit_learn():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from simulator import *\n"
        "import simulator; assert 'SimulatorClassifier' in dir(simulator)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_shape_that_an_error_proposes_fits():
    X = np.random.default_rng(0).random((20, 144))
    y = np.arange(20) % 2
    with pytest.raises(ShapeError, match=r"got none for 144 features; write for example input_shape=\(1, 12, 12\)$"):
        SimulatorClassifier("resnet8", epochs=1).fit(X, y)
    model = SimulatorClassifier("resnet8", epochs=1, input_shape=(1, 12, 12)).fit(X, y)
    assert model.network_.input_shape == (1, 12, 12)
    with pytest.raises(ShapeError, match="got none for 96 features; give one of 96 units$"):
        SimulatorClassifier("resnet8", epochs=1).fit(X[:, :96], y)
    assert SimulatorClassifier("resnet8", epochs=1, input_shape=(1, 8, 12)).fit(X[:, :96], y).n_features_in_ == 96
