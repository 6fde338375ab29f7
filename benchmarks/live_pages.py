"""What benchmarks/live.py asks of a page with a net in it, in the browser."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from browser import Page
from coda_keras_export.images import open_image
from PIL import Image

# Asks the net in the page for one picture; how long the page stood still meanwhile.
ANSWER = """
const [data, shape, serial, done] = arguments;
const {source} = codaExplorer.sides[0];
const picture = {data: Uint8Array.from(data), shape, serial: `timed ${serial}`};
let last = performance.now();
let still = 0;
const look = () => {
  still = Math.max(still, performance.now() - last);
  last = performance.now();
};
const ticks = setInterval(look, 1);
(async () => {
  const start = performance.now();
  const index = await source.add({name: `timed ${serial}`, picture});
  const classified = performance.now();
  const {logits} = source.image(index);
  const id = logits.indexOf(Math.max(...logits));
  const {map, weights} = await source.read({picture, id});
  const explained = performance.now();
  look();
  clearInterval(ticks);
  const asked = {classify: classified - start, explain: explained - classified};
  done({logits, id, map: [...map.data], weights: [...weights.data], asked, still});
})();
"""
# What Keras stored in a page, and what the net in it computes for the same images and classes.
OWN = """
const [done] = arguments;
const {source} = codaExplorer.sides[0];
const nothing = new Uint8Array(source.pixels);
const own = async ({picture, logits, maps}, index) => ({
  expected: logits,
  logits: (await source.predict(index, nothing)).before,
  maps: await Promise.all(Object.entries(maps).map(async ([id, blob]) => [
    [...(await source.read(blob)).map.data],
    [...(await source.read({picture, id: Number(id)})).map.data],
  ])),
});
Promise.all(source.manifest.images.map(own)).then(done);
"""
COMPLETE = """
const {views: [view]} = JSON.parse(document.getElementById("data").textContent);
return codaExplorer.sides[0].source.manifest.images.length === view.images.length;
"""
SEEN = "return [...codaExplorer.sides[0].picture.data]"


def open_page(driver: Any, path: Path) -> tuple[Page, float]:
    """The page, and milliseconds until the first picture is explained."""
    start = time.perf_counter()
    page = Page(driver).open(path.as_uri())
    return page, 1000 * (time.perf_counter() - start)


def ask(page: Page, image: np.ndarray, number: int) -> dict[str, Any]:
    """What the net in the page says of an image; all computed anew."""
    flat = image.ravel().tolist()
    return page.driver.execute_async_script(ANSWER, flat, list(image.shape), number)


def own_net(page: Page) -> dict[str, float | int]:
    """How far the rounded net of a run's page is from the net in float32, which Keras computed."""
    page.until(COMPLETE)
    images = page.driver.execute_async_script(OWN)
    expected, logits = (
        np.array([image[name] for image in images]) for name in ("expected", "logits")
    )
    # Several maps an image, each by its own largest value.
    stored, computed = np.swapaxes([pair for image in images for pair in image["maps"]], 0, 1)
    return {
        "images": len(images),
        "logits": largest(logits, expected),
        "contribution_map": largest(computed, stored),
    }


def seen(page: Page, file: Path, size: tuple[int, int]) -> dict[str, Any]:
    """What the page makes of a photograph, beside what `coda-keras explain` does."""
    count = page.js("return codaExplorer.sides[0].source.manifest.images.length")
    page.driver.find_element("css selector", "input[type=file]").send_keys(str(file.resolve()))
    page.until("return codaExplorer.state.image >= arguments[0]", count)
    pixels = np.array(page.ready().js(SEEN), "int64").reshape(*size, 3)
    expected = np.asarray(open_image(file, *size, resize=True)[0], "int64")
    with Image.open(file) as image:
        found = {"format": image.format, "width": image.width, "height": image.height}
    differences = np.abs(pixels - expected)
    levels = {"largest_levels": int(differences.max()), "mean_levels": float(differences.mean())}
    return {"file": file.name, **found, **levels}


def largest(values: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of every image over its largest absolute value."""
    rows = np.asarray(expected, "float64").reshape(len(expected), -1)
    differences = np.abs(values.reshape(rows.shape) - rows)
    return float((differences / np.abs(rows).max(axis=1, keepdims=True)).max())
