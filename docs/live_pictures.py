"""Takes the pictures of docs/guides/live.md and the first one of README.md: a net in a page.

    PYTHONPATH=tests python -m docs.live_pictures

has `coda-keras explore --live` write the page, opens it in Chromium, drops a photograph on it, and
writes a screenshot and a short animation into docs/images. The photograph is scikit-image's
"chelsea", by Stéfan van der Walt, CC0.
"""

import argparse
import base64
import io
import tempfile
from pathlib import Path

from browser import launch
from coda_keras_recipes import explore
from PIL import Image
from skimage import data

from coda_keras.utils.files import replacing
from docs.explorer_pictures import IMAGES, Camera, save_animation

WIDTH, HEIGHT = 1160, 1090
PHOTOGRAPH = "cat.jpg"
DROP = """
    const [name, data] = arguments;
    const file = new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name);
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));
"""
# What a desktop shows of a file that is dragged.
DRAG = """
    const [data, right, top] = arguments;
    const shown = document.getElementById("dragged") ?? document.createElement("img");
    shown.id = "dragged";
    shown.src = `data:image/jpeg;base64,${data}`;
    const place = `position: fixed; z-index: 9; width: 150px; right: ${right}px; top: ${top}px`;
    shown.style = `${place}; opacity: 0.85; border-radius: 6px; box-shadow: 0 4px 16px #0006`;
    document.body.append(shown);
    document.body.classList.add("dropping");
"""
DROPPED = "document.getElementById('dragged').remove()"
SLIDE = """
    const slider = document.querySelector(".removal input");
    slider.value = arguments[0];
    slider.dispatchEvent(new Event("input"));
"""
IDLE = "return !codaExplorer.removing"


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "live.html"
        model = ["--live", "--model", "s_coda_quarter_cifar10"]
        explore.main([*model, "--output", str(path)], "coda-keras explore")
        driver = launch(WIDTH, HEIGHT)
        try:
            animate(Camera(driver, None), path.as_uri(), photograph())
        finally:
            driver.quit()


def photograph() -> str:
    """A JPEG file as base64."""
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()


def animate(camera: Camera, url: str, file: str) -> None:
    """Drop a photograph, look at two classes, take pixels away."""
    page, frames = camera.page, []

    def hold(count):
        frames.extend([camera.frame()] * count)

    page.open(f"{url}#weights=0")
    page.until("return codaExplorer.sides[0].source.manifest.images.length === 10")
    camera.settle()
    hold(8)
    for step in range(6):
        page.js(DRAG, file, 40 + 90 * step, 60 + 45 * step)
        hold(1)
    page.js(DROPPED)
    page.js(DROP, PHOTOGRAPH, file)
    page.until("return codaExplorer.state.image === 10")
    page.ready()
    camera.settle()
    hold(16)
    page.click("[data-id='5'] .pick")
    hold(12)
    page.click("[data-id='3'] .pick")
    hold(8)
    for share in (1, 2, 4, 6, 8, 10, 12, 15, 18, 21, 25):
        page.js(SLIDE, share)
        page.until(IDLE)
        hold(2)
    hold(10)
    page.click(".curve button")
    while not page.js("return !document.querySelector('.curve button').disabled"):
        hold(1)
    hold(20)
    with replacing(IMAGES / "live.png") as temporary:
        camera.frame().save(temporary, optimize=True)
    save_animation(frames, IMAGES / "live.gif")


if __name__ == "__main__":
    main()
