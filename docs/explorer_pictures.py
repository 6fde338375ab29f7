"""Takes the pictures of docs/explorer.md and the README: the explorer in its three places.

    PYTHONPATH=tests python docs/explorer_pictures.py --logs runs

opens the trained CIFAR-10 net in Chromium as one HTML file, in TensorBoard and in JupyterLab, and
writes screenshots and a short animation into docs/images. The folder given by --logs has the event
files of a training; --data is that of TensorFlow Datasets.
"""

import argparse
import io
import tempfile
import threading
import time
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from browser import Page, launch
from PIL import Image
from places import enter_tab, jupyter_lab, leave_notebook, run_notebook, tensorboard

from coda_keras import explorer, load_model
from coda_keras.data.tf_batches import load_tfds
from coda_keras.explanation.display import net_view
from coda_keras.models.pretrained import cards
from coda_keras.utils.files import replacing

ROOT = Path(__file__).resolve().parents[1]

IMAGES = ROOT / "docs/images"
WIDTH, HEIGHT = 1400, 1060
COUNT = 20
COLOURS = 192
FRAME_MS = 90


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="s_coda_cifar10", help="preset or file (%(default)s)")
    parser.add_argument("--data", help="folder of prepared data sets")
    parser.add_argument("--logs", type=Path, help="event files of a training; none: no pictures")
    parser.add_argument("--image", type=int, default=3, help="test image shown (%(default)s)")
    parser.add_argument("--other", type=int, default=1, help="of the contrast (%(default)s)")
    parser.add_argument("--only", help="name of the one picture to take")
    return parser.parse_args()


class Camera:
    """Takes pictures of the viewer.

    Args:
        driver: of the browser.
        only: name of the one picture to take, or None for all.
    """

    def __init__(self, driver, only):
        self.page, self.only, self.frames = Page(driver), only, []

    def wants(self, name):
        return self.only in (None, name)

    def shoot(self, name):
        self.settle()
        path = IMAGES / f"explorer{name}.png"
        with replacing(path) as temporary:
            self.frame().save(temporary, optimize=True)
        print(path, path.stat().st_size // 1000, "kB", flush=True)

    def settle(self):
        """Waits for what a moment ago was asked for, images of the strip among it."""
        time.sleep(0.6)

    def frame(self):
        data = self.page.driver.get_screenshot_as_png()
        return Image.open(io.BytesIO(data)).convert("RGB")


@contextmanager
def served(view, predict):
    """The page of a view with its model behind it; its address."""
    page = explorer.page(view, "CIFAR-10", predict="predict")
    server = explorer.local_server(page, explorer.Removal([view], predict))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def one_page(camera, args, view, net):
    """The pictures of one HTML file, and the animation."""
    page = camera.page
    with served(view, explorer.without_pixels(net)) as url:
        box = strongest_box(view, args.image)
        rect = f"selection=rect.{'.'.join(map(str, box))}"
        if camera.wants(""):
            page.open(f"{url}#image={args.image}&{rect}")
            page.js(f"codaExplorer.point([{(box[0] + box[2]) // 2}, {(box[1] + box[3]) // 2}])")
            camera.shoot("")
        if camera.wants("-contrast"):
            page.open(f"{url}#image={args.other}&overlay=1&palette=orange-purple&signs=1")
            page.press("v")
            camera.shoot("-contrast")
        if camera.wants("-removal"):
            page.open(f"{url}#image={args.image}&{rect}&weights=0")
            page.click(".removal [data-value=selected]")
            page.click(".removal .primary")
            page.until("return codaExplorer.removed")
            camera.shoot("-removal")
        if camera.wants("-layers"):
            page.open(f"{url}#image={args.image}&layer=6.0&weights=0")
            page.js("document.querySelector('.layer-strip').scrollIntoView({block: 'end'})")
            camera.shoot("-layers")
        if camera.wants("-animation"):
            animate(camera, url, args, box)


def strongest_box(view, index):
    """The 12x12 pixels of an image that contribute most to its likeliest class."""
    values = view.maps[index, 0]
    side = 12
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    row, column = (int(n) for n in np.unravel_index(boxes.argmax(), boxes.shape))
    return row, column, row + side - 1, column + side - 1


def animate(camera, url, args, box):
    """A minute with the explorer in ten seconds: drag, other classes, contrast, take away."""
    page, frames = camera.page, []

    def hold(count):
        frames.extend([camera.frame()] * count)

    page.driver.set_window_size(1180, 800)
    page.open(f"{url}#image={args.image}")
    camera.settle()
    hold(8)
    top, left, bottom, right = box
    for step in range(1, 9):
        end = [top + (bottom - top) * step // 8, left + (right - left) * step // 8]
        page.js(f"codaExplorer.set({{selection: {{rect: [{top}, {left}, {end[0]}, {end[1]}]}}}})")
        page.js(f"codaExplorer.point({end})")
        hold(1)
    hold(12)
    page.js("codaExplorer.point(null)")
    for key in "v":
        page.press(key)
        hold(14)
    page.press("v", "o")
    hold(10)
    page.press("o")
    page.click(".removal [data-value=selected]")
    page.click(".removal .primary")
    page.until("return codaExplorer.removed")
    hold(18)
    page.js("codaExplorer.restore(); codaExplorer.stepImage(1)")
    page.ready().js("codaExplorer.set({selection: null})")
    hold(10)
    page.driver.set_window_size(WIDTH, HEIGHT)
    save_animation(frames, IMAGES / "explorer.gif")


def save_animation(frames, path):
    """Writes frames with one palette; equal neighbours become one that is held longer."""
    held = []
    for frame in frames:
        if held and held[-1][0].tobytes() == frame.tobytes():
            held[-1][1] += FRAME_MS
        else:
            held.append([frame, FRAME_MS])
    whole = Image.new("RGB", (frames[0].width, frames[0].height * len(held)))
    for index, (frame, _) in enumerate(held):
        whole.paste(frame, (0, index * frame.height))
    palette = whole.quantize(COLOURS, dither=Image.Dither.NONE)
    pictures = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in held]
    with replacing(path) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=[milliseconds for _, milliseconds in held],
            loop=0,
            optimize=False,
        )
    print(path, path.stat().st_size // 1000, "kB", flush=True)


def in_tensorboard(camera, args):
    """Two epochs of one training side by side."""
    page, driver = camera.page, camera.page.driver
    url = tensorboard(args.logs, "--load_fast=false", "--samples_per_plugin=explanations=0")
    fragment = urllib.parse.urlencode({"p.explanations.view": "selection=rect.8.8.19.19"})
    driver.get(f"{url}#explanations&{fragment}")
    enter_tab(page).ready().js("codaExplorer.toggleCompare()")
    page.until("return codaExplorer.sides.length === 2")
    page.ready()
    camera.shoot("-tensorboard")
    driver.switch_to.default_content()


def in_notebook(camera, args):
    """An explanation in JupyterLab, the net behind it."""
    page = camera.page
    model = args.model if args.model in cards() else str(Path(args.model).resolve())
    data = f"load_tfds('cifar10', {args.data and str(Path(args.data).resolve())!r})"
    hidden = (
        "from coda_keras import load_model\nfrom coda_keras.data.tf_batches import load_tfds\n"
        f"net, data = load_model({model!r}), {data}\n"
        "images, class_names = data.test_images[:12] / 255, data.class_names"
    )
    code = (
        "explanation = net.explain(images, 'all')\nexplanation.show(images, class_names, net=net)"
    )
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(folder, [hidden, code]) as url:
        (frame,) = run_notebook(page, url, viewers=1)
        page.js("arguments[0].scrollIntoView({block: 'start'})", frame)
        page.driver.switch_to.frame(frame)
        page.ready()
        page.js("codaExplorer.set({image: 1, selection: {rect: [8, 8, 19, 19]}})")
        page.ready().driver.switch_to.default_content()
        camera.shoot("-notebook")
        leave_notebook(page)


def main():
    args = parse()
    net = load_model(args.model)
    data = load_tfds("cifar10", args.data)
    view = net_view(
        net,
        data.test_images[:COUNT],
        class_names=data.class_names,
        labels=data.test_labels[:COUNT],
        names=[f"test image {index}" for index in range(COUNT)],
        title="contributions",
    )
    driver = launch(WIDTH, HEIGHT)
    try:
        camera = Camera(driver, args.only)
        one_page(camera, args, view, net)
        if args.logs and camera.wants("-tensorboard"):
            in_tensorboard(camera, args)
        if camera.wants("-notebook"):
            in_notebook(camera, args)
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
