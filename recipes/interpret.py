"""The paper's metrics and figures for any trained model, beside post-hoc methods.

    python recipes/interpret.py --model runs/cifar10/model.keras

computes localisation (eq. 11), pixel removal (C.4) and the sanity check for all attribution
methods, and draws the figures of the paper. The first --model is studied by all methods, further
ones (other temperatures) by their own contributions, the --baseline by all post-hoc methods:

    python recipes/interpret.py --model runs/t1000/model.keras --model runs/t10/model.keras \\
        --baseline runs/resnet56/model.keras --output runs/t1000/interpretation

The folder given by --output receives results.json, results.md, and every figure as PNG and PDF.
An interrupted run goes on where it stopped when the same command is given again; asked for more
grids, images or methods it computes only these. docs/interpretation.md explains the figures.
"""

import argparse
import logging
from pathlib import Path

import experiment
from digits import load_digits
from flags import count

from coda_keras import figures
from coda_keras.figures import save_figure
from coda_keras.interpretation import charts, measure, methods, pictures
from coda_keras.interpretation.board import Board
from coda_keras.interpretation.lab import Lab, Missing
from coda_keras.interpretation.results import markdown, write_results
from coda_keras.interpretation.study import Study
from coda_keras.interpretation.video import read_frames
from coda_keras.tf.data import load_tfds

METRICS = {
    "localisation": measure.measure_localisation,
    "pixel_removal": measure.measure_pixel_removal,
    "sanity": measure.measure_sanity,
}
FIGURES = {**pictures.FIGURES, **charts.FIGURES}
VIDEO = "video"


@experiment.command
def main():
    args = parser().parse_args()
    # TensorFlow warns of compiling for several image sizes, which is meant here.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    metrics = _chosen("--metrics", args.metrics, METRICS)
    names = methods.chosen(args.methods)
    wanted = _chosen("--figures", args.figures, [*FIGURES, VIDEO])
    data = _load(args)
    if args.video and VIDEO in wanted:
        # Read again at the end; a mistake is better told at once.
        read_frames(args.video, data.test_images.shape[1])
    args.output.mkdir(parents=True, exist_ok=True)

    paths = [*args.model, *([args.baseline] if args.baseline else [])]
    studies = []
    for path, name in zip(paths, _names(paths)):
        in_full = not studies or path is args.baseline
        studies.append(Study(path, name, names if in_full else ["contributions"], args, data))
    lab = Lab(args, studies[: len(args.model)], studies[-1] if args.baseline else None)
    for study in studies:
        print(f"{study.name}: test accuracy {study.accuracy:.4f} on {len(study.labels)} images")
        study.check(metrics)
    for study in studies:
        lab.numbers[study.name] = {name: {} for name in study.names}
        for metric in metrics:
            for name in study.names:
                _measure(lab, study, metric, name)
        for name in study.names if metrics else ():
            lab.numbers[study.name][name]["cost"] = measure.measure_cost(study, name)

    # Numbers first: they took longest.
    write_results(lab, data, figures=[], skipped={})
    board = Board(args.logdir)
    drawn, skipped = _draw(lab, wanted, board)
    board.table(markdown(write_results(lab, data, drawn, skipped)))
    board.close()
    print(f"numbers  {args.output / 'results.md'}, {args.output / 'results.json'}")


def _measure(lab, study, metric, name):
    found = METRICS[metric](study, name)
    if metric == "sanity":
        found, maps = found
        if study is lab.main:
            lab.sanity_maps[name] = maps
    lab.numbers[study.name][name][metric] = found
    short = measure.in_short(metric, found)
    print(f"{study.name}: {metric}, {study.label(name)}: {short}", flush=True)


def _draw(lab, wanted, board):
    """Draws the figures; returns the files written, and why others were not."""
    drawn, skipped = [], {}
    for name in wanted:
        path = lab.args.output / f"figure_{name}"
        try:
            if name == VIDEO:
                frames = pictures.explained_video(lab)
                path = path.with_name("video.gif")
                figures.save_gif(frames, path)
                board.video("video", frames)
                drawn.append(path.name)
            else:
                figure = FIGURES[name](lab)
                for suffix in (".png", ".pdf"):
                    save_figure(figure, path.with_suffix(suffix))
                    drawn.append(path.with_suffix(suffix).name)
                board.figure(path.name, figure)
        except Missing as missing:
            skipped[name] = str(missing)
            print(f"figure {name} skipped: {missing}.")
        else:
            print(f"figure {name}: {lab.args.output / drawn[-1]}")
    return drawn, skipped


def _load(args):
    data = load_digits() if args.dataset == "digits" else load_tfds(args.dataset, args.data)
    return data.limit(test=args.limit_test)


def _chosen(flag, text, known):
    names = {"all": list(known), "none": []}.get(text, text.split(","))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{flag} {text}: expected some of {', '.join(known)}, or all, or none.")
    return names


def _names(paths):
    """A name for every model: that of its folder, with a number where folders share one."""
    names = [path.resolve().parent.name for path in paths]
    return [
        f"{name}-{names[: i + 1].count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def parser():
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(group, name, text, default=None, **options):
        shown = "" if default is None else f" (default: {default})"
        group.add_argument(name, default=default, help=text + shown, **options)

    def number(group, name, text, default=None):
        add(group, name, text, default, type=count, metavar="N")

    what = flags.add_argument_group("models and data")
    what.add_argument(
        "--model",
        type=Path,
        action="append",
        required=True,
        help="a trained .keras file; several times to compare temperatures",
    )
    add(what, "--baseline", "an ordinary classifier to compare with, as .keras file", type=Path)
    add(
        what,
        "--baseline-activation",
        "how the baseline's logits become probabilities; sigmoid if a recipe here trained it",
        "sigmoid",
        choices=("sigmoid", "softmax"),
    )
    add(what, "--dataset", "test images", "cifar10", choices=("cifar10", "digits"))
    add(what, "--data", "folder of prepared data sets; default: TensorFlow Datasets' own")
    number(what, "--limit-test", "use only the first N test images")
    add(what, "--output", "folder of results", Path("runs/interpretation"), type=Path)
    add(what, "--logdir", "folder for TensorBoard; none without", type=Path)

    how = flags.add_argument_group("metrics and methods")
    add(how, "--metrics", f"comma-separated: {', '.join(METRICS)}; or all, none", "all")
    add(
        how,
        "--methods",
        f"comma-separated: {', '.join(methods.ALL)}, occlusion_K for any K; or all",
        "all",
    )
    number(how, "--grids", "multi-images for localisation", 500)
    number(how, "--grid-size", "images a side of a multi-image", 3)
    number(how, "--images", "test images for pixel removal", 1024)
    number(how, "--few-grids", "multi-images for RISE and LIME", 25)
    number(how, "--few-images", "test images for RISE and LIME", 100)
    number(how, "--sanity-images", "test images for the sanity check (RISE and LIME: 4)", 16)
    number(how, "--points", "steps of pixel removal", 128)
    number(how, "--occlusion-stride", "the paper: 2 on CIFAR-10, 4 on TinyImagenet", 2)
    number(how, "--rise-masks", "masks of RISE", 6000)
    number(how, "--lime-samples", "hidden variants of LIME", 256)
    number(how, "--lime-kernel-size", "LIME's quickshift; 1 finds more superpixels", 4)
    number(how, "--batch-size", "images the model sees at once; bounds the memory", 32)
    add(how, "--seed", "of the multi-images and of all that is random", 42, type=int)

    shown = flags.add_argument_group("figures")
    add(shown, "--figures", f"comma-separated: {', '.join([*FIGURES, VIDEO])}; or all, none", "all")
    add(shown, "--video", "animated GIF or folder of frames to explain; default: a pan over a grid")
    return flags


if __name__ == "__main__":
    main()
