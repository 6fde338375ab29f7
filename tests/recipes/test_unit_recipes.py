"""Recipes of what DAUs align with: the figures of noisy digits, and the supplement's tables."""

import argparse
import importlib
import json
import sys

import keras
import numpy as np
import pytest
from conftest import as_oracle
from oracle import dynamic_weights, rescale

pytest.importorskip("sklearn")


def recipe(name):
    return importlib.import_module(f"coda_keras_recipes.{name}")


def run(module, monkeypatch, *arguments, **values):
    """Runs a recipe with other values than those at its top."""
    for key, value in values.items():
        monkeypatch.setattr(module, key, value)
    program = module.__name__.rpartition(".")[2] + ".py"
    monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
    module.main()


def test_figures_of_noisy_digits(tmp_path, monkeypatch):
    arguments = ["--dataset", "digits", "--limit-train", 32, "--limit-test", 12, "--epochs", 1]
    layers = {"single layer": [(10, 2, 1, 1)], "five layers": [(4, 2, 3, 4), (10, 2, 1, 1)]}
    out = tmp_path / "run"
    module = recipe("mnist")
    values = {"LAYERS": layers, "SAMPLES": 16, "MAXIMISED": 2}
    run(module, monkeypatch, *arguments, "--output", out, **values)
    for name in ("figure2", "figure3"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    results = json.loads((out / "mnist.json").read_text())
    data = module.load_digits().limit(32, 12)
    test = module.noisy(data.test_images, 1)
    for name in layers:
        numbers = results["figure2"][name]
        net = keras.models.load_model(out / f"{name.replace(' ', '_')}.keras")
        logits = net.predict(test, verbose=0)
        accuracy = np.mean(logits.argmax(axis=1) == data.test_labels)
        assert numbers["test_accuracy"] == pytest.approx(accuracy)
        assert numbers["completeness_error"] < 1e-3
        pairs = module.label_and_rival(logits, data.test_labels)
        np.testing.assert_array_equal(pairs[:, 0], data.test_labels)
        for row, (label, rival) in zip(logits, pairs):
            assert rival != label and row[rival] == np.delete(row, label).max()
        found_cosine = numbers["cosine_of_label"]
        weights = net.explain(test, pairs).numpy().weights[:, 0].reshape(len(test), -1)
        encoded = np.concatenate([test, 1 - test], axis=-1).reshape(len(test), -1)
        expected = (weights * encoded).sum(1) / np.linalg.norm(weights, axis=1)
        assert found_cosine == pytest.approx(
            np.mean(expected / np.linalg.norm(encoded, axis=1)), rel=1e-4
        )
    figure3 = results["figure3"]
    assert figure3["samples"] == 48
    assert 0 < min(figure3["cosine_of_eigenvectors"]) <= max(figure3["cosine_of_eigenvectors"]) < 1
    assert figure3["reached"] <= figure3["reached_at_best"] + 1e-6


@pytest.mark.parametrize("part", ["train", "test"])
def test_limits_that_leave_no_image_of_a_shown_digit_are_told(part, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        arguments = ["--dataset", "digits", f"--limit-{part}", 3, "--output", tmp_path / "run"]
        run(recipe("mnist"), monkeypatch, *arguments)
    assert end.value.code == 2
    assert f"No {part} image shows a " in (said := capsys.readouterr().err)
    assert f"Raise --limit-{part}." in said and not (tmp_path / "run").exists()


def test_vectors_are_matched_to_their_digits(rng):
    digits = rng.normal(size=(3, 6))
    units = digits / np.linalg.norm(digits, axis=1, keepdims=True)
    vectors, cosine = recipe("mnist").matched(-units[[2, 0, 1]], digits)
    np.testing.assert_allclose(vectors, units)
    np.testing.assert_allclose(cosine, 1)


def test_digits_come_from_where_the_flags_say(tmp_path, monkeypatch, capsys):
    module = recipe("mnist")
    with pytest.raises(SystemExit) as end:
        run(module, monkeypatch, "--data", tmp_path, "--output", tmp_path / "run")
    assert end.value.code == 2
    assert "Expected train-images-idx3-ubyte" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    grey = module.load_digits()._replace(
        train_images=np.ones((3, 5, 5, 1), "uint8"), test_images=np.ones((2, 5, 5, 1), "uint8")
    )
    monkeypatch.setattr("coda_keras.data.tf_batches.load_tfds", lambda name, folder: grey)
    (tmp_path / "mnist").mkdir()
    images = module.load(argparse.Namespace(dataset="mnist", data=tmp_path))
    assert images.train_images.shape == (3, 5, 5, 3) and images.test_images.shape == (2, 5, 5, 3)


def test_the_supplement_in_numbers(tmp_path, monkeypatch, capsys):
    module = recipe("supplement")
    arguments = ["--limit-train", 60, "--output", tmp_path]
    run(module, monkeypatch, *arguments, RANKS=(2,), EPOCHS=2)
    results = json.loads((tmp_path / "supplement.json").read_text())
    printed = capsys.readouterr().out

    inputs = module.load_digits().train_images[:60, ..., 0].reshape(60, -1) / 255
    for row, brighter in zip(results["D"], (1, 10)):
        inputs[::10] *= brighter
        norms = np.linalg.norm(inputs, axis=1)
        _, vectors = np.linalg.eigh(inputs.T @ inputs)
        projected = np.linalg.norm(inputs @ vectors[:, -2:], axis=1)
        assert row["PCA"] == pytest.approx(projected.sum() / norms.sum())
        assert row["PCA, squares"] == pytest.approx((projected**2).sum() / (norms**2).sum())
        assert row["PCA"] < row["best subspace"] < 1
        assert row["PCA, squares"] > row["best subspace, squares"]
        for label in ("DAU, L2", "DAU, SQ"):
            assert 0 < row[label] < row["best subspace"]
            assert f"{row[label]:.4f}" in printed

    equal, differing = results["E"][:2], results["E"][2:]
    assert all(row["largest difference"] < 1e-5 for row in equal)
    assert all(row["largest difference"] > 0.05 for row in differing)


def test_a_capsule_after_one_step_is_the_dynamic_weight_of_a_unit(rng):
    module = recipe("supplement")
    poses, transforms = rng.normal(size=(1, 2, 3)), rng.normal(size=(2, 4, 6, 3))
    weights = dynamic_weights(poses.reshape(1, 1, 6), as_oracle(module.as_units(transforms)))
    vectors = module.routed(poses, transforms, 1)
    np.testing.assert_allclose(vectors[0], weights.reshape(4, 6), rtol=1e-5, atol=1e-7)


def test_routing_is_that_of_the_loops_of_its_procedure(rng):
    poses, transforms = rng.normal(size=(1, 2, 3)), rng.normal(size=(2, 4, 6, 3))
    logits, vectors = np.zeros((2, 4)), np.zeros((4, 6))
    for _ in range(3):
        for j in range(4):
            total = np.zeros(6)
            for i in range(2):
                coupling = np.exp(logits[i, j]) / np.exp(logits[i]).sum()
                total += coupling * transforms[i, j] @ poses[0, i]
            vectors[j] = rescale(total, "squash")
        for i, j in np.ndindex(2, 4):
            logits[i, j] += vectors[j] @ transforms[i, j] @ poses[0, i]
    vectors_of_recipe = recipe("supplement").routed(poses, transforms, 3)
    np.testing.assert_allclose(vectors_of_recipe[0], vectors, rtol=1e-12)
