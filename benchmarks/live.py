"""What a page with a net in it computes, held against Keras, in a real browser.

    PYTHONPATH=.:tests python benchmarks/live.py --output benchmarks/results/live.json

writes the page of `coda-keras explore --live` for a trained net, opens it from disk in Chromium,
has it classify and explain test images of CIFAR-10, and compares with Keras: with the weights
rounded to float16, as the page has them, and with the net as it is. Differences are divided by the
image's largest absolute value. --photographs names images whose pixels, cropped and scaled by the
page, are compared with those of `coda-keras explain`. --run names a finished run, such as
demo/digits: what the net in its explorer.html computes is compared with what Keras stored there.

--ort names the folder of onnxruntime-web (npm install onnxruntime-web) and --onnx the net as an
ONNX file (coda-keras export): what a page with both would take, and how fast they are in Node, by
one thread too. Needs Chromium and chromedriver.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from browser import launch

from benchmarks import live_ort
from benchmarks.live_pages import ask, largest, open_page, own_net, seen
from coda_keras import explorer
from coda_keras.data.tf_batches import load_tfds
from coda_keras.explanation.in_page import network
from coda_keras.models.loading import load_model
from coda_keras.utils import provenance
from coda_keras.utils.command_line import command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    images = load_tfds("cifar10", args.data).test_images[: args.images]
    net = load_model(args.model)
    driver = launch()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "live.html"
            shown = explorer.LiveView(network(net), images[:1], title=args.model)
            explorer.write_html(path, shown, f"Explanations of {args.model}")
            page, opened = open_page(driver, path)
            answers = [ask(page, image, number) for number, image in enumerate(images)]
            results = {
                "megabytes": path.stat().st_size / 1e6,
                "opened_milliseconds": opened,
                **times(answers),
                "rounded": compared(rounded(net), images, answers),
                "float32": compared(net, images, answers),
                "photographs": [seen(page, file, net.image_size) for file in args.photographs],
            }
            if args.run:
                page, _ = open_page(driver, args.run / "explorer.html")
                results["run"] = own_net(page)
            if args.ort:
                results["onnxruntime-web"] = live_ort.measure(args.ort, args.onnx, images)
        record = {
            "arguments": {"model": str(args.model), "images": args.images},
            "commit": provenance.commit(ROOT),
            "uncommitted": provenance.uncommitted(ROOT, "coda_keras", "benchmarks"),
            "versions": provenance.versions(),
            "browser": driver.capabilities["browserVersion"],
            "hardware": provenance.hardware(),
            "load_average": os.getloadavg(),
            "finished": provenance.now(),
            "results": results,
        }
    finally:
        driver.quit()
    print(*table(results), sep="\n")
    if args.output:
        write_json(args.output, record)
        print(f"Wrote {args.output}")


def times(answers: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Milliseconds from question to answer, and for how long the page stood still, at most."""
    columns = {name: [answer["asked"][name] for answer in answers] for name in answers[0]["asked"]}
    columns["page_stood_still"] = [answer["still"] for answer in answers]
    return {
        f"{name}_milliseconds": {"median": statistics.median(values), "max": max(values)}
        for name, values in columns.items()
    }


def rounded(net: Any) -> Any:
    """The net with the weights that the page has."""
    copy = type(net).from_config(net.get_config())
    halves = [weight.astype("float16").astype("float32") for weight in net.get_weights()]
    copy.set_weights(halves)
    return copy


def compared(net: Any, images: np.ndarray, answers: list[dict[str, Any]]) -> dict[str, float | int]:
    """Largest differences to Keras, each over the largest absolute value of its image."""
    floats = images.astype("float32") / 255
    ids = np.array([answer["id"] for answer in answers])
    expected = net.explain(floats, ids).numpy()
    logits, maps, weights = (
        np.array([answer[name] for answer in answers], "float64")
        for name in ("logits", "map", "weights")
    )
    encoded = np.concatenate([floats, 1 - floats], axis=-1)
    contributions = weights.reshape(encoded.shape) * encoded
    chosen = np.take_along_axis(logits, ids[:, None], axis=1)[:, 0]
    residuals = np.abs(chosen - float(expected.bias) - maps.sum(axis=1))
    return {
        "images": len(images),
        "logits": largest(logits, expected.logits),
        "contribution_map": largest(maps, expected.contribution_map),
        "contributions": largest(contributions, expected.contributions),
        "residual": float(residuals.max()),
        "same_class": int((expected.logits.argmax(axis=1) == ids).sum()),
    }


def table(results: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown."""
    rounded, exact = results["rounded"], results["float32"]
    rows = [
        ("size of the page", f"{results['megabytes']:.1f} MB"),
        ("classify, median (largest)", _milliseconds(results["classify_milliseconds"])),
        ("explain", _milliseconds(results["explain_milliseconds"])),
        ("the page stood still for", _milliseconds(results["page_stood_still_milliseconds"])),
        ("difference of logits", f"{rounded['logits']:.1e}"),
        ("difference of contributions", f"{rounded['contributions']:.1e}"),
        ("residual", f"{rounded['residual']:.1e} logits"),
        ("same class", f"{rounded['same_class']} of {rounded['images']} images"),
        ("difference of logits to float32", f"{exact['logits']:.1e}"),
        ("difference of contributions to float32", f"{exact['contributions']:.1e}"),
    ]
    if "run" in results:
        run = results["run"]
        rows += [
            ("your own net: difference of logits to float32", f"{run['logits']:.1e}"),
            ("difference of contribution maps to float32", f"{run['contribution_map']:.1e}"),
        ]
    return markdown_table(["", "the page"], rows)


def photographs_table(results: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown, a line a photograph."""
    rows = (
        (
            f"{row['format']}, {row['width']}x{row['height']}",
            str(row["largest_levels"]),
            f"{row['mean_levels']:.2f}",
        )
        for row in results["photographs"]
    )
    return markdown_table(["photograph", "largest difference", "mean difference"], rows)


def ort_table(results: dict[str, Any]) -> list[str]:
    """The lines of a table in Markdown: this page beside one with onnxruntime-web."""
    other = results["onnxruntime-web"]
    rows = [
        (
            name,
            f"{found['megabytes']:.1f} MB",
            _milliseconds(found["classify_milliseconds"]),
            _milliseconds(found["explain_milliseconds"]),
        )
        for name, found in (("plain JavaScript", results), ("onnxruntime-web", other))
    ]
    head = ["", "size of the page", "classify, median (largest)", "explain"]
    return markdown_table(head, rows)


def _milliseconds(values: dict[str, float]) -> str:
    return f"{values['median']:.0f} ms ({values['max']:.0f} ms)"


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="s_coda_quarter_cifar10", help="(%(default)s)")
    parser.add_argument("--images", type=positive_int, default=50, help="(%(default)s)")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="image files")
    parser.add_argument("--run", type=Path, help="folder of a finished run")
    parser.add_argument("--ort", type=Path, help="folder of onnxruntime-web")
    parser.add_argument("--onnx", type=Path, help="the net as an ONNX file")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    args = parser.parse_args(arguments)
    if (args.ort is None) != (args.onnx is None):
        parser.error("--ort and --onnx go together")
    return args


if __name__ == "__main__":
    main()
