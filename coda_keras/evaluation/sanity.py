"""The sanity check of Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

The weights of a model are re-initialised layer by layer, from the output backwards. Maps that
explain the model must change; maps that stay alike show the image, not the model.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from coda_keras.evaluation.calls import signed_maps
from coda_keras.evaluation.chart import Chart, Curve, Summary
from coda_keras.evaluation.metric import Array, Attribute, ImageMetric, Rows
from coda_keras.evaluation.similarity import compare_with_first, rank_correlation, ssim
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.progress import tracked

MEASURES = ("rank_correlation", "ssim")


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """Maps of a model whose layers are re-initialised one after the other, S steps.

    Similarities compare with the maps of the intact model; each is a dict with an array `(S, B)`
    in [-1, 1] for the `"signed"` and for the `"absolute"` maps.

    Attributes:
        steps: S tuples of layer names; step s has re-initialised those of all steps up to s.
        maps: `(S + 1, B, H, W)`, those of the intact model first.
        rank_correlation: Spearman's; 0 where a map is constant and so ranks nothing.
        ssim: structural similarity of the maps as `unit_scaled` gives them.
    """

    steps: tuple[tuple[str, ...], ...]
    maps: np.ndarray
    rank_correlation: dict[str, np.ndarray]
    ssim: dict[str, np.ndarray]

    def summary(self) -> Summary:
        """Returns the mean similarities of every step as a dict of plain numbers."""
        return {
            "steps": [list(names) for names in self.steps],
            "rank_correlation": _means(self.rank_correlation),
            "ssim": _means(self.ssim),
        }


def cascading_randomisation(
    model: Any,
    images: np.ndarray,
    class_ids: np.ndarray,
    attribute: Attribute,
    steps: int | None = None,
    seed: int = 42,
    progress: bool = True,
    batch_size: int | None = None,
) -> SanityCheck:
    """Re-initialises a model from the output layer backwards and compares its maps.

    The model's weights are changed in place while this runs, and restored at the end, also after
    an error.

    Args:
        model: a built Keras model.
        images: `(B, H, W, 3)` in [0, 1].
        class_ids: `(B,)` integers.
        attribute: `attribute(model, images, class_ids) -> maps`, signed `(B, H, W)`.
        steps: int, in how many steps the layers are re-initialised, as even groups; None for one
            layer a step.
        seed: int, seed of the new initial values.
        progress: bool, whether to show a progress bar.
        batch_size: int, the most images in one call of `attribute`; None for one call.

    Returns:
        `SanityCheck`.

    Raises:
        ValueError: if the model has no layer with weights, `steps` is out of range, or a layer
            cannot be built anew from its configuration.
    """
    layers = weighted_layers(model)[::-1]
    if not layers:
        raise ValueError(
            f"Model {model.name!r} has no layer with weights. Call it once if it is not built yet."
        )
    steps = len(layers) if steps is None else steps
    if not 1 <= steps <= len(layers):
        raise ValueError(
            f"`steps` must lie in 1 to {len(layers)}, the number of layers with weights. "
            f"Received: steps={steps}."
        )
    groups = [
        layers[i * len(layers) // steps : (i + 1) * len(layers) // steps] for i in range(steps)
    ]
    images, class_ids = np.asarray(images), np.asarray(class_ids)
    maps = [signed_maps(attribute, model, images, class_ids, batch_size)]
    weights = [layer.get_weights() for layer in layers]
    try:
        with _initial_values(seed):
            for group in tracked(groups, "sanity check", "step", shown=progress):
                for layer in group:
                    layer.set_weights(initial_weights(layer))
                maps.append(signed_maps(attribute, model, images, class_ids, batch_size))
    finally:
        for layer, trained in zip(layers, weights):
            layer.set_weights(trained)
    maps = np.stack(maps)
    return SanityCheck(
        steps=tuple(tuple(layer.name for layer in group) for group in groups),
        maps=maps,
        rank_correlation=compare_with_first(rank_correlation, maps),
        ssim=compare_with_first(ssim, maps),
    )


def weighted_layers(model: Any) -> list[Any]:
    """Returns the innermost layers of a Keras model that have weights, from input to output."""
    layers = []
    for layer in model.layers:
        if getattr(layer, "layers", None):
            layers.extend(weighted_layers(layer))
        elif layer.weights:
            layers.append(layer)
    return layers


def initial_weights(layer: Any) -> list[np.ndarray]:
    """Returns new initial values for `layer.set_weights`, from the layer's own initialisers.

    Raises:
        ValueError: if the layer cannot be built anew from its configuration.
    """
    config = layer.get_build_config()
    if config is None:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be re-initialised: it does not "
            "know its input shape. Give it a `build(input_shape)` method and call the model once."
        )
    fresh = type(layer).from_config(layer.get_config())
    fresh.build_from_config(config)
    return fresh.get_weights()


def _means(similarity: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [float(v) for v in values.mean(axis=1)] for name, values in similarity.items()}


@contextmanager
def _initial_values(seed: int) -> Iterator[None]:
    # Keras draws the seeds of unseeded initialisers from Python's generator.
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _similarity(measure: str, form: str, summary: Summary) -> Curve:
    names = tuple(step[-1] for step in summary["steps"])
    # The intact maps are like themselves.
    return Curve(("none", *names), (1.0, *summary[measure][form]))


class CascadingRandomisation(ImageMetric):
    """`cascading_randomisation` as a metric of studies, in at most `steps` steps.

    Args:
        steps: int, the most steps in which the layers are re-initialised.
        **kwargs: `activation`, `batch_size`, `seed` of `Metric`.
    """

    name = "sanity"
    good = "zero"
    changes_model = True
    most_items = 16
    # The maps of every step are needed: a slice is all that expensive methods get.
    items_per_slice = 4
    few_items = 4
    charts: ClassVar = {
        key: Chart(
            title,
            partial(_similarity, *key),
            x_label="re-initialised, down to",
            y_label="similarity to the intact map",
            y_range=None,
            reference=lambda summary: 0.0,
            markers=True,
        )
        for key, title in {
            ("rank_correlation", "signed"): "rank correlation, signed maps",
            ("rank_correlation", "absolute"): "rank correlation, absolute maps",
            ("ssim", "absolute"): "SSIM, absolute maps",
        }.items()
    }
    figure = tuple(charts)
    legend: ClassVar = {
        "sanity": "Sanity: rank correlation of the maps with those of the net, all its layers "
        "re-initialised; near 0 is good.",
    }

    def __init__(self, steps: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = positive_int("steps", steps)

    def measure(self, model: Any, images: Array, class_ids: Array, attribute: Attribute) -> Rows:
        steps = min(self.steps, len(weighted_layers(model)))
        check = cascading_randomisation(
            model,
            images,
            class_ids,
            attribute,
            steps=steps,
            seed=self.seed,
            progress=False,
            batch_size=self.batch_size,
        )
        names = np.array([",".join(step) for step in check.steps])
        return {
            "maps": check.maps.swapaxes(0, 1).astype("float32"),
            "steps": np.broadcast_to(names, (len(images), steps)),
            **{
                f"{measure}_{form}": values.T
                for measure in MEASURES
                for form, values in getattr(check, measure).items()
            },
        }

    def summary(self, rows: Rows) -> Summary:
        steps = tuple(tuple(step.split(",")) for step in rows["steps"][0].tolist())
        similarities = [
            {form: rows[f"{measure}_{form}"].T for form in ("signed", "absolute")}
            for measure in MEASURES
        ]
        check = SanityCheck(steps, rows["maps"].swapaxes(0, 1), *similarities)
        return {"images": len(rows["maps"]), **check.summary()}

    def score(self, summary: Summary) -> float:
        return summary["rank_correlation"]["signed"][-1]

    def in_short(self, summary: Summary) -> str:
        last, images = self.score(summary), summary["images"]
        return f"rank correlation {last:.2f}, all layers re-initialised ({images} images)"

    def cells(self, summary: Summary) -> dict[str, str]:
        return {"sanity": f"{self.score(summary):.2f}"}
