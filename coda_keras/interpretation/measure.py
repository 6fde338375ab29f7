"""The metrics of a study, slice by slice, as dicts of plain numbers."""

import time

import numpy as np
from report import hardware

from coda_keras.evaluation import (
    Localisation,
    PixelRemoval,
    cascading_randomisation,
    localisation,
    pixel_removal,
)
from coda_keras.evaluation.sanity import weighted_layers
from coda_keras.interpretation.methods import DEAR

GRIDS_PER_SLICE = 5
IMAGES_PER_SLICE = 25
SANITY_IMAGES_PER_SLICE = 4
FRACTION = 0.25
# Up to about half an image: a larger one would see more of its neighbours than of itself.
WINDOWS = (3, 5, 9, 15)
MOST_STEPS = 10
# These fill batches from a single image.
MASKING = (*DEAR, "occlusion")


def measure_localisation(study, name):
    """Localisation (eq. 11) on the model's own multi-images."""
    args = study.args
    count = min(args.grids, args.few_grids) if name in DEAR else args.grids
    grids = study.grids[:count]
    method = study.method(study.source(name), of_grids=True)
    windows = [size for size in WINDOWS if size <= study.images.shape[1] // 2]

    def compute(start, stop):
        part = grids[start:stop]
        found = localisation(
            study.grid_model, part, method, windows, grids_per_call=len(part), progress=False
        )
        averaged = {str(size): scores for size, scores in found.averaged.items()}
        return {"scores": found.scores, **averaged}

    found = study.collect(
        "localisation",
        study.source(name),
        {
            **study.settings(name),
            "grid_size": args.grid_size,
            "seed": args.seed,
            "windows": windows,
        },
        count,
        GRIDS_PER_SLICE,
        compute,
        f"localisation {method.label}",
        "grid",
    )
    return Localisation(found.pop("scores"), found).summary()


def measure_pixel_removal(study, name):
    """Pixel removal (C.4) on the first test images, both orders."""
    args = study.args
    count = min(args.images, args.few_images) if name in DEAR else args.images
    count = min(count, len(study.images))
    points = min(args.points, int(FRACTION * study.images[0, ..., 0].size))
    method = study.method(study.source(name))

    def compute(start, stop):
        found = pixel_removal(
            study.model,
            study.images[start:stop],
            study.labels[start:stop],
            method,
            fraction=FRACTION,
            points=points,
            activation=study.activation,
            images_per_call=stop - start,
            seed=args.seed,
            progress=False,
        )
        rows = np.broadcast_to(found.fractions, (stop - start, points + 1))
        return {"fractions": rows, **found.probabilities}

    found = study.collect(
        "pixel_removal",
        study.source(name),
        {**study.settings(name), "points": points, "fraction": FRACTION, "seed": args.seed},
        count,
        IMAGES_PER_SLICE,
        compute,
        f"pixel removal {method.label}",
    )
    return PixelRemoval(found.pop("fractions")[0], found).summary()


def measure_sanity(study, name):
    """The sanity check on the first test images; also the maps `(S + 1, H, W)` of the first."""
    args = study.args
    # The maps of every step are needed: a slice is all that the dear methods get.
    count = SANITY_IMAGES_PER_SLICE if name in DEAR else args.sanity_images
    count = min(count, args.sanity_images, len(study.images))
    steps = min(MOST_STEPS, len(weighted_layers(study.model)))
    method = study.method(study.source(name))

    def compute(start, stop):
        found = cascading_randomisation(
            study.model,
            study.images[start:stop],
            study.labels[start:stop],
            method,
            steps=steps,
            seed=args.seed,
            progress=False,
        )
        arrays = {
            f"{measure}_{form}": values.T
            for measure in ("rank_correlation", "ssim")
            for form, values in getattr(found, measure).items()
        }
        names = np.array([",".join(step) for step in found.steps])
        names = np.broadcast_to(names, (stop - start, steps))
        return {"maps": found.maps.swapaxes(0, 1).astype("float32"), "steps": names, **arrays}

    found = study.collect(
        "sanity",
        study.source(name),
        {**study.settings(name), "steps": steps, "seed": args.seed},
        count,
        SANITY_IMAGES_PER_SLICE,
        compute,
        f"sanity check {method.label}",
    )
    summary = {
        "images": count,
        "steps": [step.split(",") for step in found["steps"][0].tolist()],
        **{
            measure: {
                form: found[f"{measure}_{form}"].mean(0).tolist() for form in ("signed", "absolute")
            }
            for measure in ("rank_correlation", "ssim")
        },
    }
    return summary, found["maps"][0]


def measure_cost(study, name):
    """Seconds a map, and the same in forward passes for one image of the same size."""
    args = study.args
    method = study.method(study.source(name))
    masking = study.source(name).split("_")[0] in MASKING
    batch = min(args.batch_size, len(study.images))
    images, labels = study.images[:batch], study.labels[:batch]
    count = 1 if masking else batch

    def compute(start, stop):
        seconds = _seconds(lambda: study.predict(images), repeats=5) / batch
        maps = _seconds(
            lambda: method(study.model, images[:count], labels[:count]),
            repeats=1 if masking else 3,
        )
        return {"forward": np.array([seconds]), "map": np.array([maps / count])}

    arguments = {**study.settings(name), "batch_size": batch, "hardware": hardware()}
    found = study.collect(
        "cost", study.source(name), arguments, 1, 1, compute, f"timing {method.label}"
    )
    forward, seconds = float(found["forward"][0]), float(found["map"][0])
    return {
        "seconds_per_map": seconds,
        "seconds_per_forward_pass": forward,
        "forward_passes": seconds / forward,
    }


def in_short(metric, found):
    """A result in a line."""
    if metric == "localisation":
        return f"{found['mean']:.3f} ({found['images']} grids, chance {found['chance']:.3f})"
    if metric == "pixel_removal":
        areas = ", ".join(f"{order} first {each['area']:.3f}" for order, each in found.items())
        return f"{areas} ({found['least']['images']} images)"
    last = found["rank_correlation"]["signed"][-1]
    return f"rank correlation {last:.2f}, all layers re-initialised ({found['images']} images)"


def _seconds(function, repeats):
    """Median time of a call after a first one, which compiles."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))
