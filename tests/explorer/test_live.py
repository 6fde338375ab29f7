"""Pages with a net in them, in a real browser: what they compute is what Keras computes."""

import base64
import io

import numpy as np
import pytest
from browser import number
from conftest import set_weights
from keras import ops
from PIL import Image

from coda_keras import CoDANet, DAUConv2D, DynamicLinear, explorer
from coda_keras.data import image_files
from coda_keras.explanation.display import net_view
from coda_keras.explanation.in_page import network, small_network
from coda_keras.explorer.network import encoded_network
from coda_keras.explorer.packing import unpack

HEIGHT, WIDTH = 9, 7
NAMES = ["cat", "<script>alert(1)</script>", "ship"]

# Odd and even numbers of everything, both rescalings, strides that leave rows out, no bias, 1x1.
NETS = {
    "squash": [DAUConv2D(5, 3, 3, strides=2), DAUConv2D(4, 2, 3), DAUConv2D(3, 4, 1)],
    "l2": [DAUConv2D(2, 1, 5, strides=3, rescale="l2"), DAUConv2D(3, 5, 3, rescale="l2")],
    "no-bias": [DAUConv2D(3, 4, 1, use_bias=False), DAUConv2D(3, 2, 3, strides=4)],
}


@pytest.fixture(scope="module")
def nets():
    """Nets whose weights float16 holds exactly, as those that ship."""
    rng = np.random.default_rng(0)
    made = {}
    for name, layers in NETS.items():
        net = CoDANet(layers, temperature=3, image_size=(HEIGHT, WIDTH), class_names=NAMES)
        set_weights(net, rng)
        net.set_weights(
            [weight.astype("float16").astype("float32") for weight in net.get_weights()]
        )
        made[name] = net
    return made


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), "uint8")
    images[0, :5] = 0  # As black as the zeros around it are not.
    return images


@pytest.fixture(scope="module")
def page_url(nets, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    views = [explorer.LiveView(network(net), images, title=name) for name, net in nets.items()]
    explorer.write_html(folder / "live.html", views)
    return (folder / "live.html").as_uri()


@pytest.fixture
def page(browser, page_url):
    return complete(browser.open(f"{page_url}#a=squash@0"))


def complete(page, count=3):
    page.until("return codaExplorer.sides[0].source.manifest.images.length >= arguments[0]", count)
    return page.ready()


def explanation_of(net, images):
    return net.explain(images.astype("float32") / 255, "all").numpy()


EXPLAINED = """
    const [done] = arguments;
    const {source} = codaExplorer.sides[0];
    Promise.all(source.manifest.images.map(async ({logits, maps}) => ({
        logits,
        classes: await Promise.all(Object.values(maps).map(async wanted => {
            const {map, weights} = await source.read(wanted);
            return {map: [...map.data], weights: [...weights.data]};
        })),
    }))).then(done);
"""


@pytest.mark.parametrize("name", NETS)
def test_logits_maps_and_weights_are_those_of_keras(name, nets, images, browser, page_url):
    page = complete(browser.open(f"{page_url}#a={name}@{list(NETS).index(name)}"))
    expected = explanation_of(nets[name], images)
    for index, image in enumerate(page.driver.execute_async_script(EXPLAINED)):
        scale = np.abs(expected.logits[index]).max()
        np.testing.assert_allclose(image["logits"], expected.logits[index], atol=1e-5 * scale)
        for field, wanted in (
            ("map", expected.contribution_map[index]),
            ("weights", expected.weights[index]),
        ):
            shown = np.array([shown[field] for shown in image["classes"]]).reshape(wanted.shape)
            np.testing.assert_allclose(shown, wanted, atol=1e-5 * np.abs(wanted).max())


def test_the_account_of_a_class_adds_up(page, nets, images):
    expected = explanation_of(nets["squash"], images)
    page.click("[data-id='2'] .pick")
    page.drag([(0, 0), (4, 6)])
    account = page.account()
    assert account["total"] == pytest.approx(expected.logits[0, 2], abs=6e-4)
    assert account["inside"] == pytest.approx(expected.contribution_map[0, 2, :5].sum(), abs=6e-4)
    parts = account["bias"] + account["inside"] + account["outside"]
    assert parts == pytest.approx(account["total"], abs=1e-9)
    residual = page.text(".residual output")
    assert abs(number(residual)) < 1e-5 * np.abs(expected.logits[0]).max()
    assert NAMES[1] in page.texts(".classes .name")


def test_a_slider_takes_pixels_away_at_once(page, nets, images):
    net = nets["squash"]
    for order, sign in (("most", -1), ("least", 1)):
        page.click(f".removal [data-value={order}]")
        page.js(
            "const s = document.querySelector('.removal input'); s.value = 30;"
            "s.dispatchEvent(new Event('input'))"
        )
        page.until("return !codaExplorer.removing && codaExplorer.removed")
        predicted = explanation_of(net, images).logits[0].argmax()
        values = explanation_of(net, images).contribution_map[0, predicted].ravel()
        count = round(0.3 * values.size)
        gone = np.argsort(sign * values, kind="stable")[:count]
        np.testing.assert_array_equal(
            np.flatnonzero(page.js("return [...codaExplorer.removed]")), np.sort(gone)
        )
        removed = np.zeros(values.size, bool)
        removed[gone] = True
        predict = explorer.without_pixels(net)
        floats = images[:1].astype("float32") / 255
        expected = predict(floats, removed.reshape(1, HEIGHT, WIDTH))
        after = page.js("return codaExplorer.sides[0].removal.after")
        np.testing.assert_allclose(after, np.asarray(expected)[0], atol=1e-5)
    page.js(
        "const s = document.querySelector('.removal input'); s.value = 0;"
        "s.dispatchEvent(new Event('input'))"
    )
    page.until("return codaExplorer.removed === null")


def test_the_curve_begins_with_the_image_and_ends_without_it(page, nets, images):
    page.click(".curve button")
    page.until("return !document.querySelector('.curve button').disabled")
    logits = explanation_of(nets["squash"], images).logits[0]
    expected = 100 / (1 + np.exp(-logits.max()))
    empty = 100 / (1 + np.exp(-nets["squash"].logit_bias))
    for line in page.js("return document.querySelector('.curve svg').ariaLabel").split(". ")[:2]:
        first, *_, last = line.split("; ")
        assert number(first.split(", ")[-1]) == pytest.approx(expected, abs=0.06)
        assert number(last.split(", ")[-1]) == pytest.approx(empty, abs=0.06)


DROP = """
    const [name, data, size] = arguments;
    const file = new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name);
    if (size) Object.defineProperty(file, "size", {value: size});
    const dataTransfer = new DataTransfer();
    if (data || size) dataTransfer.items.add(file);
    if (size) Object.defineProperty(dataTransfer, "files", {value: [file]});
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));
"""


def drop(page, name, data, size=0):
    """Drops a file; returns what the page says of it."""
    page.js("document.querySelector('.status').textContent = ''")
    page.js(DROP, name, base64.b64encode(data).decode(), size)
    page.until("return !/^(Reading .*)?$/.test(document.querySelector('.status').textContent)")
    page.ready()
    return page.text(".status")


def encoded(image, kind):
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(rng, size, mode="RGB"):
    """Smooth colours, as photographs have them."""
    small = rng.integers(0, 256, (5, 6, len(mode)), "uint8")
    return Image.fromarray(small, mode).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "mode, size, kind, off",
    [
        ("RGB", (50, 30), "PNG", 0),
        ("RGB", (600, 31), "PNG", 0),
        # Some versions of Pillow scale the height of tall images first, and round once between.
        ("RGB", (31, 600), "PNG", 1),
        ("RGB", (WIDTH, HEIGHT), "PNG", 0),
        ("RGB", (5, 4), "PNG", 0),
        ("RGBA", (40, 40), "PNG", 2),
        ("RGB", (64, 48), "JPEG", 2),
    ],
)
def test_a_photograph_is_seen_as_by_explain(mode, size, kind, off, page, nets, rng):
    data = encoded(picture(rng, size, mode), kind)
    image, _ = image_files.decode(data, "photo")
    expected = np.asarray(image_files.fit(image, HEIGHT, WIDTH)).astype(int)
    assert "cropped and scaled to 7x9" in drop(page, "photo.png", data)
    assert page.js("return codaExplorer.state.image") == 3
    seen = np.array(page.js("return [...codaExplorer.sides[0].picture.data]")).reshape(
        expected.shape
    )
    assert np.abs(seen - expected).max() <= off
    (logits,) = explanation_of(nets["squash"], seen[None].astype("uint8")).logits
    assert page.account()["total"] == pytest.approx(logits.max(), abs=6e-4)


def test_a_photograph_is_shown_to_the_net_that_it_is_compared_with(page, rng):
    page.click("button.compare")
    page.until("return codaExplorer.sides.length === 2")
    complete(page)
    page.until("return codaExplorer.sides[1].source.manifest.images.length === 3")
    drop(page, "photo.png", encoded(picture(rng, (20, 20)), "PNG"))
    page.ready()
    names = page.js("return codaExplorer.sides.map(s => s.source.image(3).name)")
    assert names == ["photo.png", "photo.png"]


def test_wrong_files_are_answered_by_a_sentence(page):
    assert (
        drop(page, "notes.txt", b"no image") == "notes.txt is no image that this browser can read."
    )
    assert "200 MB" in drop(page, "film.mov", b"", 2e8)
    huge = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    assert "20000x10000 pixels" in drop(page, "huge.png", huge)
    assert "no file" in drop(page, "", b"")
    assert page.js("return codaExplorer.sides[0].source.manifest.images.length") == 3


def test_weights_arrive_as_they_were_packed(page, nets):
    arrays = page.js(
        "const {source} = codaExplorer.sides[0];"
        "return source.read(source.manifest.net.blob).then(arrays => Object.fromEntries("
        "Object.entries(arrays).map(([name, {data}]) => [name, [...data]])))"
    )
    for name, array in network(nets["squash"]).arrays().items():
        np.testing.assert_array_equal(np.float32(arrays[name]), array.ravel())


def test_stored_maps_with_a_net_lose_pixels_offline(nets, images, browser, tmp_path):
    from dataclasses import replace

    net = nets["l2"]
    view = replace(net_view(net, images, classes=1, title="stored"), network=network(net))
    explorer.write_html(tmp_path / "page.html", view)
    page = browser.open((tmp_path / "page.html").as_uri())
    page.click(".removal .primary")
    page.until("return codaExplorer.removed")
    before = page.js("return codaExplorer.sides[0].removal.before")
    np.testing.assert_allclose(before, view.logits[0], atol=1e-5)
    # The map of a class that was not stored.
    other = int(view.logits[0].argmin())
    page.press(str(other))
    assert page.account()["total"] == pytest.approx(view.logits[0, other], abs=6e-4)
    drop(page, "photo.png", encoded(Image.new("RGB", (20, 20), "green"), "PNG"))
    assert page.js("return codaExplorer.state.image") == len(images)


def test_packed_weights_are_half_as_large():
    net = CoDANet([DAUConv2D(3, 2, 3)], image_size=8)
    small = np.float32(6e-8)  # The least number that float16 has.
    net.set_weights([np.full(weight.shape, small) for weight in net.get_weights()])
    description, data = encoded_network(network(net))
    arrays = unpack(data)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert arrays["0.kernel"][0, 0, 0, 0, 0] == np.float16(small) > 0
    assert description["layers"] == [{"strides": 1, "rescale": "squash"}]


def test_small_nets_alone_go_into_the_page_of_a_run(nets):
    net = nets["l2"]
    assert small_network(net, 2 * net.count_params()).size == (HEIGHT, WIDTH)
    assert small_network(net, 2 * net.count_params() - 1) is None
    assert small_network(CoDANet([DAUConv2D(3, 2, 3), Twice()], image_size=8), 10**6) is None


class Twice(DynamicLinear):
    def linearize(self, inputs):
        return 2 * self.prepare(inputs), lambda cotangent: 2 * cotangent


def test_what_a_page_cannot_compute_is_refused(nets, images):
    with pytest.raises(ValueError, match="with Twice"):
        network(CoDANet([DAUConv2D(3, 2, 3), Twice()], image_size=8))
    with pytest.raises(ValueError, match="image_size"):
        network(CoDANet([DAUConv2D(3, 2, 3)]))
    with pytest.raises(ValueError, match="3 names"):
        network(nets["l2"], ["cat"])
    net = CoDANet([DAUConv2D(3, 2, 3)], image_size=8)
    net.body[0].bias.assign(ops.full(net.body[0].bias.shape, 1e5))
    with pytest.raises(ValueError, match="65,504"):
        network(net)
    with pytest.raises(ValueError, match=r"uint8 \(B, 9, 7, 3\)"):
        explorer.LiveView(network(nets["l2"]), images[:, :4])
    with pytest.raises(ValueError, match="Expected 3 names"):
        explorer.LiveView(network(nets["l2"]), images, names=["a"])
    with pytest.raises(ValueError, match="net of 12x16 pixels"):
        from explorer_views import view

        view(network=network(nets["l2"]))
