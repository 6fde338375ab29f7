"""Times the explorer's answers to gestures, in a real browser.

    PYTHONPATH=tests python benchmarks/explorer.py --output benchmarks/results/explorer.json

Two pages of random numbers: 64 images of 32x32 pixels with 10 classes, all in the memory of the
browser, and one image of 240x240 pixels with 100 classes, whose maps are decoded when they are
looked at. A gesture takes from its event to the end of the frame in which it is seen; those that
need maps not decoded yet are told apart. Needs Chromium and chromedriver.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from browser import Page, launch

from coda_keras import explorer
from coda_keras.utils import provenance
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]

# (name, images, classes, side)
PAGES = (
    ("64 images, 10 classes, 32x32", 64, 10, 32),
    ("1 image, 100 classes, 240x240", 1, 100, 240),
)
SETTLE = 0.3

# Every gesture is JavaScript that does it for the `i`-th time.
GESTURES = {
    "point at a pixel": "app.point([i % h, (3 * i) % w])",
    "drag a rectangle": """
        app.set({selection: {rect: [1, 1, 2 + i % (h - 3), 2 + (2 * i) % (w - 3)]}})
    """,
    "draw a lasso": """
        panel('pointermove', 0.5 + 0.4 * Math.cos(i / 3), 0.5 + 0.4 * Math.sin(i / 3))
    """,
    "zoom": "app.zoomBy(i % 2 ? 2 : 0.5, [h / 3, w / 3])",
    "another class, first time": "app.chooseClass(1 + i % (classes - 1))",
    "another class again": "app.chooseClass(1 + i % Math.min(classes - 1, 9))",
    "contrast": "app.set({class: 1, contrast: i % 2 ? 2 : 3})",
    "colours": "app.set({palette: i % 2 ? 'red-blue' : 'orange-purple'})",
    "scale": "app.set({shared: i % 2 === 0})",
    "next image, first time": "app.chooseImage(app.state.image + 1)",
}
BEFORE = {
    "draw a lasso": """
        app.set({tool: 'lasso', zoom: 1, x: 0, y: 0, selection: null});
        panel('pointerdown', 0.9, 0.5);
    """,
    "colours": "panel('pointerup', 0.5, 0.5); app.set({selection: null, contrast: null})",
}

MEASURE = """
const [action, before, count, done] = arguments;
const app = codaExplorer;
const [h, w] = app.size;
const classes = app.sides[0].source.manifest.classes.length;
const canvas = document.querySelectorAll(".panel canvas")[0];
canvas.setPointerCapture = () => {};
const panel = (type, y, x) => {
  const box = canvas.getBoundingClientRect();
  const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
  canvas.dispatchEvent(new PointerEvent(type, { ...at, button: 0, bubbles: true }));
};
const act = new Function("app", "i", "h", "w", "classes", "panel", action);
new Function("app", "panel", before)(app, panel);
const shown = () => app.sides.every((side) => side.picture && side.quantity?.values);
// What comes after a frame has been painted.
const painted = () => new Promise((go) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = go;
  port2.postMessage(null);
}));
(async () => {
  const times = [];
  for (let i = 0; i < count; i++) {
    await painted();
    const start = performance.now();
    act(app, i, h, w, classes, panel);
    const handled = performance.now() - start;
    while (!shown()) await new Promise((go) => setTimeout(go));
    await painted();
    times.push([handled, performance.now() - start]);
  }
  done(times);
})();
"""


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=20, help="of a gesture (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    args = parser.parse_args()
    if args.repetitions < 1 or not args.output.parent.is_dir():
        parser.error("expected a positive number of repetitions and an existing folder")
    return args


def random_view(images, classes, side):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (images, side, side, 3), dtype="uint8")
    encoded = np.concatenate([pictures / 255, 1 - pictures / 255], axis=-1).astype("float32")
    shape = (images, classes, side, side, 6)
    weights = rng.standard_normal(shape, dtype="float32") / side
    maps = np.einsum("bchwk,bhwk->bchw", weights, encoded)
    logits = maps.sum((2, 3)) - 2.197
    ids = np.tile(np.arange(classes), (images, 1))
    return explorer.View(pictures, logits, ids, maps, bias=-2.197, weights=weights)


def measure(driver, folder, page, repetitions):
    name, *shape = page
    path = folder / "page.html"
    explorer.write_html(path, random_view(*shape), weights="int8")
    start = time.perf_counter()
    Page(driver).open(path.as_uri())
    opened = 1000 * (time.perf_counter() - start)
    rows = []
    for gesture, action in GESTURES.items():
        if "image" in gesture and shape[0] == 1:
            continue
        time.sleep(SETTLE)
        times = driver.execute_async_script(MEASURE, action, BEFORE.get(gesture, ""), repetitions)
        handled, seen = zip(*times)
        rows.append(
            {
                "gesture": gesture,
                "handled_milliseconds": {"median": statistics.median(handled), "max": max(handled)},
                "seen_milliseconds": {"median": statistics.median(seen), "max": max(seen)},
            }
        )
    return {
        "page": name,
        "megabytes": path.stat().st_size / 1e6,
        "opened_milliseconds": opened,
        "gestures": rows,
    }


def table(pages):
    """The lines of a table in Markdown: until a gesture's outcome is seen, median (largest)."""
    seen = {
        page["page"]: {row["gesture"]: row["seen_milliseconds"] for row in page["gestures"]}
        for page in pages
    }
    gestures = dict.fromkeys(gesture for times in seen.values() for gesture in times)
    return markdown_table(
        ["milliseconds", *seen],
        (
            [gesture]
            + [
                f"{times[gesture]['median']:.0f} ({times[gesture]['max']:.0f})"
                if gesture in times
                else ""
                for times in seen.values()
            ]
            for gesture in gestures
        ),
    )


def main():
    args = parse()
    paths = "coda_keras/explorer", "benchmarks/explorer.py"
    packages = "coda-keras", "numpy", "selenium"
    record = provenance.conditions(vars(args), ROOT, *paths, packages=packages)
    driver = launch()
    try:
        record["browser"] = driver.capabilities["browserVersion"]
        with tempfile.TemporaryDirectory() as folder:
            record["results"] = [
                measure(driver, Path(folder), page, args.repetitions) for page in PAGES
            ]
    finally:
        driver.quit()
    write_json(args.output, record)
    print(*table(record["results"]), f"Wrote {args.output}", sep="\n")


if __name__ == "__main__":
    main()
