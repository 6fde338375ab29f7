"""The figures of maps: which images, models and methods each shows.

Every function takes a `Lab` and returns a figure, or raises `Missing` with the reason.
"""

import numpy as np
from report import own_maps

from coda_keras import figures
from coda_keras.evaluation import localisation
from coda_keras.figures import Column, gallery, map_table
from coda_keras.interpretation import layers, video
from coda_keras.interpretation.lab import Missing, class_names, confident, few

STRONGEST = ("contributions", "occlusion", "gradcam", "rise", "lime")


def temperatures(lab):
    """Fig. 4: maps of nets trained at different temperatures."""
    studies = lab.nets()
    if len(studies) < 2:
        raise Missing("it compares CoDA-Nets of several temperatures: give --model several times")
    chosen = few(lab.main, 6)
    columns = [
        Column(
            f"T = {study.temperature:g}",
            study.maps("contributions", chosen),
            [caption.rpartition(", ")[2] for caption in study.captions(chosen)],
        )
        for study in studies
    ]
    return map_table(lab.main.images[chosen], columns, class_names(lab.main, chosen))


def most_confident(lab):
    """Fig. 5: the two most confident images of every class."""
    return _gallery(lab, per_class=2, columns=4)


def more_confident(lab):
    """Fig. A.1: a row of the most confident images for every class."""
    return _gallery(lab, per_class=5, columns=5)


def multi_image(lab):
    """Fig. 7: a multi-image, and the map of every class in it."""
    study = lab.main
    grid = _first_grid(study)
    image = grid.compose(0)
    own, quantity = own_maps(study.inherent)
    method = study.method(own, of_grids=True)
    maps = method(study.grid_model, image[None], grid.class_ids[:1])
    scores = localisation(study.grid_model, grid, lambda *_: maps, progress=False).scores[0]
    titles = [
        f"{study.class_names[class_id]}, {score:.2f}"
        for class_id, score in zip(grid.class_ids[0], scores)
    ]
    return figures.multi_image(image, maps[0], titles, quantity=quantity)


def side_by_side(lab):
    """Fig. 8: beside the strongest post-hoc methods, the largest occlusion window only."""
    names = [name for name in lab.main.names if name.startswith(STRONGEST)]
    occlusions = [name for name in names if name.startswith("occlusion")]
    weaker = sorted(occlusions, key=lambda name: int(name.rpartition("_")[2]))[:-1]
    return _comparison(lab, [name for name in names if name not in weaker], few(lab.main, 4))


def all_methods(lab):
    """Fig. A.3: beside all methods, an image of every class."""
    return _comparison(lab, lab.main.names, confident(lab.main))


def layers_to_class(lab):
    """Fig. A.6: what the outputs of every layer contribute to the class."""
    study = lab.net()
    chosen = few(study, 4)
    images = study.images[chosen]
    found = layers.layer_to_class(study.model, images, study.labels[chosen])
    titles = ["pixels", *(f"layer {i}" for i in range(1, len(found)))]
    columns = [Column(title, values.sum(-1)) for title, values in zip(titles, found)]
    return map_table(images, columns, class_names(study, chosen))


def layers_of_baseline(lab):
    """Fig. A.7: Input×Gradient of the baseline's activations."""
    study = lab.need_baseline()
    chosen = few(study, 4)
    images = study.images[chosen]
    try:
        found = layers.input_x_gradient_of_layers(study.model, images, study.labels[chosen])
    except ValueError as error:
        raise Missing(str(error)) from error
    columns = [Column(_wrapped(title), maps) for title, maps in found]
    return map_table(images, columns, class_names(study, chosen))


def channels(lab):
    """Which pixels feed the channel of each layer that contributes most to the class."""
    study = lab.net()
    chosen = few(study, 4)
    images = study.images[chosen]
    found = layers.layer_to_class(study.model, images, study.labels[chosen])
    strongest = layers.strongest_channels(found[1:])
    maps = layers.input_to_channels(study.model, images, strongest)
    columns = [
        Column(f"layer {i}", values, [f"channel {channel}" for channel in of_images])
        for i, (values, of_images) in enumerate(zip(maps, strongest), start=1)
    ]
    return map_table(images, columns, class_names(study, chosen), explained="the channel")


def sanity_maps(lab):
    """The maps of one image while layers are re-initialised."""
    names = [name for name in lab.sanity_maps if lab.main.source(name) == name]
    if not names:
        raise Missing("the metric sanity was not asked for")
    numbers = lab.numbers_of(lab.main)[names[0]]["sanity"]
    titles = ["intact", *(step[-1] for step in numbers["steps"])]
    maps = np.stack([lab.sanity_maps[name] for name in names], axis=1)
    columns = [Column(_wrapped(title), values) for title, values in zip(titles, maps)]
    image = lab.main.images[:1].repeat(len(names), axis=0)
    return map_table(image, columns, [lab.main.label(name) for name in names], panel=0.9)


def explained_video(lab):
    """A video explained frame by frame, uint8 `(T, h, w, 3)`.

    Explained is the class predicted for most frames; of the pan, the class of the middle cell.
    """
    study = lab.net()
    if lab.args.video:
        frames = video.read_frames(lab.args.video, study.images.shape[1])
        classes = [study.predict(frame[None])[0].argmax() for frame in frames]
        class_id = np.bincount(classes).argmax()
    else:
        grid = _first_grid(study)
        # Twice an image on a grid of 3x3: never the whole of it.
        sides = [side * (grid.n + 1) // 2 for side in study.images.shape[1:3]]
        frames = video.pan(grid.compose(0), sides)
        class_id = grid.class_ids[0][grid.n // 2 * (grid.n + 1)]
    maps = study.method("contributions")(study.model, frames, int(class_id))
    return figures.animation_frames(frames, maps)


FIGURES = {
    "4": temperatures,
    "5": most_confident,
    "7": multi_image,
    "8": side_by_side,
    "a1": more_confident,
    "a3": all_methods,
    "a6": layers_to_class,
    "a7": layers_of_baseline,
    "layers": channels,
    "sanity_maps": sanity_maps,
}


def _wrapped(name):
    """The name of a layer on two lines, if it is long."""
    return name.replace("_", "\n", 1) if len(name) > 8 else name


def _gallery(lab, per_class, columns):
    study = lab.main
    chosen = confident(study, per_class)
    method, quantity = own_maps(study.inherent)
    maps = study.maps(method, chosen)
    return gallery(
        study.images[chosen], maps, study.captions(chosen), columns, panel=1.0, quantity=quantity
    )


def _comparison(lab, names, chosen):
    study = lab.main
    columns = [
        Column(
            study.label(name).replace(" (", "\n("),
            study.maps(name, chosen),
            signed=name != "rise",
        )
        for name in names
    ]
    return map_table(study.images[chosen], columns, class_names(study, chosen))


def _first_grid(study):
    try:
        return study.first_grid
    except ValueError as error:
        raise Missing(str(error)) from error
