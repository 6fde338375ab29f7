"""The figures of maps: which images, models and methods each shows.

Every function takes a `Study` and returns a figure, or raises `Missing` with the reason.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from coda_keras import attribution, figures
from coda_keras.attribution.contributions import own_method
from coda_keras.evaluation import localisation
from coda_keras.explanation.channels import layer_contributions, strongest_channels
from coda_keras.explanation.layer import require_layers
from coda_keras.figures import Column, gallery, map_table
from coda_keras.study.baseline_layers import input_x_gradient_of_layers
from coda_keras.study.errors import Missing
from coda_keras.study.images import Indices
from coda_keras.study.studied_model import Subject


def temperatures(study: Any) -> Figure:
    """Fig. 4 and A.5: maps of nets trained at different temperatures, or with different λ."""
    if len(study.nets) < 2:
        raise Missing("it compares CoDA-Nets of several temperatures: give several models")
    chosen = _spread(study.main, 6)
    strengths = [net.model.get_config()["regularisation"] for net in study.nets]
    named = [f"\nλ = {strength:g}" if len(set(strengths)) > 1 else "" for strength in strengths]
    columns = [
        Column(
            f"T = {net.temperature:g}{strength}",
            net.maps("contributions", chosen),
            [caption.rpartition(", ")[2] for caption in net.captions(chosen)],
        )
        for net, strength in zip(study.nets, named)
    ]
    return map_table(study.main.images[chosen], columns, _class_names(study.main, chosen))


def most_confident(study: Any) -> Figure:
    """Fig. 5: the two most confident images of every class."""
    return _gallery(study.main, per_class=2, columns=4)


def more_confident(study: Any) -> Figure:
    """Fig. A.1: a row of the most confident images for every class."""
    return _gallery(study.main, per_class=5, columns=5)


def multi_image(study: Any) -> Figure:
    """Fig. 7: a multi-image, and the map of every class in it."""
    subject = study.main
    grid = subject.first_grid
    image = grid.compose(0)
    own, quantity = own_method(subject.model)
    method = subject.method(own, images_a_call=grid.n**2)
    maps = method(subject.grid_model, image[None], grid.class_ids[:1])
    scores = localisation(subject.grid_model, grid, lambda *_: maps, progress=False).scores[0]
    titles = [
        f"{subject.class_names[class_id]}, {score:.2f}"
        for class_id, score in zip(grid.class_ids[0], scores)
    ]
    return figures.multi_image(image, maps[0], titles, quantity=quantity)


def side_by_side(study: Any) -> Figure:
    """Fig. 8: beside the strongest post-hoc methods, of a sized one the largest only."""
    rows = [attribution.find(name) for name in study.main.names]
    strong = [row for row in rows if row.strong]
    largest = {row.family: _largest(strong, row.family) for row in strong if row.family}
    names = [row.name for row in strong if not row.family or row is largest[row.family]]
    return _comparison(study.main, names, _spread(study.main, 4))


def all_methods(study: Any) -> Figure:
    """Fig. A.3: beside all methods, an image of every class."""
    return _comparison(study.main, study.main.names, _confident(study.main))


def layers_to_class(study: Any) -> Figure:
    """Fig. A.6: what the outputs of every layer contribute to the class."""
    subject = _layered(study)
    chosen = _spread(subject, 4)
    images = subject.images[chosen]
    by_layer = layer_contributions(subject.model, images, subject.labels[chosen])
    titles = ["pixels", *(f"layer {i}" for i in range(1, len(by_layer)))]
    columns = [Column(title, values.sum(-1)) for title, values in zip(titles, by_layer)]
    return map_table(images, columns, _class_names(subject, chosen))


def layers_of_baseline(study: Any) -> Figure:
    """Fig. A.7: Input×Gradient of the baseline's activations."""
    subject = study.baseline
    if subject is None:
        raise Missing("there is no baseline")
    chosen = _spread(subject, 4)
    images = subject.images[chosen]
    try:
        by_layer = input_x_gradient_of_layers(subject.model, images, subject.labels[chosen])
    except ValueError as error:
        raise Missing(str(error)) from error
    columns = [Column(_wrapped(title), maps) for title, maps in by_layer]
    return map_table(images, columns, _class_names(subject, chosen))


def channels(study: Any) -> Figure:
    """Which pixels feed the channel of each layer that contributes most to the class."""
    subject = _layered(study)
    chosen = _spread(subject, 4)
    images = subject.images[chosen]
    strongest = strongest_channels(
        subject.model, images, subject.labels[chosen], count=1, explained="channel"
    )
    columns = [
        Column(
            f"layer {i + 1}",
            strongest.maps[:, i, 0],
            [f"channel {channel}" for channel in strongest.channels[:, i, 0]],
        )
        for i in range(len(strongest.names))
    ]
    return map_table(images, columns, _class_names(subject, chosen), explained="the channel")


def sanity_maps(study: Any) -> Figure:
    """The maps of one image while layers are re-initialised."""
    subject = study.main
    measured = study.measured(subject, "sanity")
    names = [name for name in measured if subject.source(name) == name]
    if not names:
        raise Missing("all methods have the maps of others, which were not asked for")
    titles = ["intact", *(step[-1] for step in measured[names[0]]["steps"])]
    maps = np.stack([study.rows(subject, "sanity", name)["maps"][0] for name in names], axis=1)
    signed = [attribution.find(name).signed for name in names]
    columns = [
        Column(_wrapped(title), values, signed=signed) for title, values in zip(titles, maps)
    ]
    image = subject.images[:1].repeat(len(names), axis=0)
    return map_table(image, columns, [subject.label(name) for name in names], panel=0.9)


def weights(study: Any) -> Figure:
    """The weights themselves, rows of W_{0->L}, as colours, beside the contribution maps."""
    subject = study.main_net
    chosen = _confident(subject)
    explained = subject.model.explain(subject.images[chosen], subject.labels[chosen]).numpy()
    maps, weights = explained.contribution_map, explained.weights
    return _captioned(subject, chosen, maps, columns=2, panel=1.2, weights=weights)


def _layered(study: Any) -> Subject:
    """The model that is studied by all methods, if its layers can be explained."""
    try:
        require_layers(study.main_net.model)
    except ValueError as error:
        raise Missing(str(error)) from error
    return study.main_net


def _confident(subject: Subject, per_class: int = 1) -> np.ndarray:
    chosen = subject.confident(per_class)
    if not len(chosen):
        raise Missing(f"{subject} classifies no test image correctly")
    return chosen


def _spread(subject: Subject, count: int) -> np.ndarray:
    """Some of the most confident test images, of classes spread over all of them."""
    chosen = _confident(subject)
    return chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)]


def _class_names(subject: Subject, indices: Indices) -> list[str]:
    return [subject.class_names[label] for label in subject.labels[indices]]


def _largest(rows, family):
    size = attribution.METHODS[family].argument
    of_family = [row for row in rows if row.family == family]
    return max(of_family, key=lambda row: row.arguments[size])


def _wrapped(name):
    """The name of a layer on two lines, if it is long."""
    return name.replace("_", "\n", 1) if len(name) > 8 else name


def _gallery(subject, per_class, columns):
    chosen = _confident(subject, per_class)
    method, quantity = own_method(subject.model)
    maps = subject.maps(method, chosen)
    return _captioned(subject, chosen, maps, columns=columns, panel=1.0, quantity=quantity)


def _captioned(subject, chosen, maps, **options):
    captions, note = subject.captions(chosen), subject.note_of_missing(chosen)
    return gallery(subject.images[chosen], maps, captions, note=note, **options)


def _comparison(subject, names, chosen):
    if not names:
        raise Missing("none of the methods that it compares was asked for")
    columns = [
        Column(
            subject.label(name).replace(" (", "\n("),
            subject.maps(name, chosen),
            signed=attribution.find(name).signed,
        )
        for name in names
    ]
    return map_table(subject.images[chosen], columns, _class_names(subject, chosen))
