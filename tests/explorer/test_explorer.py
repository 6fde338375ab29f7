"""The explorer as one HTML file, in a real browser: its numbers are NumPy's."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import number
from explorer_views import BIAS, CLASSES, COUNT, HEIGHT, NAMES, WIDTH, numbers, view
from scipy.special import expit

from coda_keras import explorer
from coda_keras.figures import contribution_rgb, shared_scale, weights_rgba


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    explorer.write_html(folder / "one.html", view())
    explorer.write_html(folder / "two.html", [view(), view(1, title="other")])
    steps = [view(0, step=0), view(1, step=5), view(2, step=7)]
    explorer.write_html(folder / "steps.html", steps)
    post_hoc = view(2, bias=None, weights=None, title="GradCAM", quantity="a. u.")
    explorer.write_html(folder / "methods.html", [view(), post_hoc])
    return folder.as_uri()


@pytest.fixture
def page(browser, pages):
    return browser.open(f"{pages}/one.html")


def test_the_account_of_a_rectangle_is_that_of_numpy(page):
    _, _, maps, logits = numbers(0)
    page.click("[data-id='4'] .pick")
    page.drag([(2, 3), (5, 6), (9, 12)])
    account = page.account()
    total = logits[0, 4]
    assert account["bias"] == round(float(BIAS), 3)
    assert account["inside"] == pytest.approx(maps[0, 4, 2:10, 3:13].sum(), abs=6e-4)
    assert account["total"] == pytest.approx(total, abs=5.1e-4)
    # The digits on screen add up as they stand.
    assert round(account["bias"] + account["inside"] + account["outside"], 3) == account["total"]
    assert "80 pixels" in page.text(".term.inside small")
    share = maps[0, 4, 2:10, 3:13].sum() / (total - BIAS)
    shown = page.text(".term.inside small").split(", ")[1].rstrip(")")
    assert number(shown) == pytest.approx(100 * share, abs=0.051)


def test_many_classes_are_listed_by_their_logits(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    logits = np.random.default_rng(0).normal(size=(2, 30)).astype("float32")
    ids = np.argsort(-logits, axis=1)[:, :2]
    names = [f"class {number}" for number in range(30)]
    maps = np.zeros((2, 2, 4, 4), "float32")
    images = np.zeros((2, 4, 4, 3), "uint8")
    shown = explorer.View(images, logits, ids, maps, names)
    explorer.write_html(tmp_path / "page.html", shown)
    page = browser.open((tmp_path / "page.html").as_uri())
    for image in (0, 1):
        order = np.argsort(-logits[image], kind="stable")
        assert page.texts(".classes .name") == [names[number] for number in order]
        page.press(Keys.ARROW_DOWN)
        assert page.text("h1").startswith(f"Why {names[order[1]]}?")
        page.press(Keys.ESCAPE, Keys.ARROW_RIGHT)


def test_constants_inside_of_a_net_have_a_term_of_their_own(browser, tmp_path):
    _, _, maps, logits = numbers(0)
    offsets = np.linspace(-1, 1, COUNT * CLASSES, dtype="float32").reshape(COUNT, CLASSES)
    shown = replace(view(), logits=logits + offsets, offsets=offsets)
    explorer.write_html(tmp_path / "page.html", shown)
    page = browser.open((tmp_path / "page.html").as_uri())
    page.click("[data-id='4'] .pick")
    page.drag([(2, 3), (5, 6), (9, 12)])
    account = page.account()
    assert account["offset"] == pytest.approx(offsets[0, 4], abs=5.1e-4)
    assert account["total"] == pytest.approx(logits[0, 4] + offsets[0, 4], abs=5.1e-4)
    rest = maps[0, 4].sum() - maps[0, 4, 2:10, 3:13].sum()
    assert account["outside"] == pytest.approx(rest, abs=2e-3)


def test_a_lasso_takes_the_pixels_whose_centres_it_holds(page):
    _, _, maps, logits = numbers(0)
    page.click("[data-value='lasso']")
    # A triangle with its corners at pixel centres; those on its edges may fall either way.
    page.drag([(1, 1), (1, 9), (9, 1)])
    mask = np.array(page.js("return [...codaExplorer.mask]")).reshape(HEIGHT, WIDTH)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside = (rows > 1) & (columns > 1) & (rows + columns < 10)
    around = (rows >= 1) & (columns >= 1) & (rows + columns <= 10)
    assert mask[inside].all() and not mask[~around].any()
    predicted = logits[0].argmax()
    expected = maps[0, predicted][mask == 1].sum()
    assert page.account()["inside"] == pytest.approx(expected, abs=6e-4)


def test_images_are_sorted_and_filtered(browser, tmp_path):
    _, _, _, logits = numbers(0)
    predicted, negative = logits.argmax(1), np.float32([0.3, 0.1, 0.4, 0.2])
    labels = predicted.copy()
    labels[[1, 2]] = (labels[[1, 2]] + 1) % CLASSES
    explorer.write_html(tmp_path / "page.html", view(labels=labels, negative=negative))
    page = browser.open((tmp_path / "page.html").as_uri())

    def shown():
        return [
            int(index)
            for index in page.js(
                "return [...document.querySelectorAll('.strip button')].map(e => e.dataset.index)"
            )
        ]

    def choose(label, value):
        code = """
            const field = document.querySelector(`.order [aria-label='${arguments[0]}']`);
            field.value = arguments[1];
            field.dispatchEvent(new Event("change"));
        """
        page.js(code, label, value)
        page.ready()

    assert shown() == [0, 1, 2, 3]
    choose("Sort by", "negative")
    assert shown() == [1, 3, 0, 2]
    page.click(".order [title='The largest first']")
    assert shown() == [2, 0, 3, 1]
    choose("from", "0.15")
    choose("to", "0.35")
    assert shown() == [0, 3] and page.text(".order .hint") == "2 of 4"
    page.press("\ue014")
    assert page.js("return codaExplorer.state.image") == 3
    choose("Sort by", "probability")
    assert shown() == sorted(range(COUNT), key=lambda index: -logits[index].max())
    page.click(".order [title='Only images predicted wrongly']")
    assert set(shown()) == {1, 2}
    # Links reopen what was chosen.
    again = browser.open(page.js("return location.href"))
    assert set(shown()) == {1, 2} and again.js("return codaExplorer.state.image") in (1, 2)
    page.click(".order [title='Only images predicted wrongly']")
    choose("Predicted as", str(predicted[3]))
    assert set(shown()) == set(np.flatnonzero(predicted == predicted[3]))
    choose("Predicted as", "")
    choose("Truly", str(labels[1]))
    assert set(shown()) == set(np.flatnonzero(labels == labels[1]))


def test_the_brush_paints(page):
    page.click("[data-value='brush']")
    page.drag([(3, 3), (3, 8)])
    assert page.js("return codaExplorer.mask[3 * 16 + 3] && codaExplorer.mask[3 * 16 + 8]") == 1


def test_contrast_is_the_difference_of_two_maps(page):
    _, _, maps, logits = numbers(0)
    page.click("[data-id='2'] .pick")
    page.click("[data-id='0'] .versus")
    page.drag([(0, 0), (4, 4)])
    account = page.account()
    difference = maps[0, 2] - maps[0, 0]
    assert "bias" not in account
    assert account["inside"] == pytest.approx(difference[:5, :5].sum(), abs=6e-4)
    assert account["total"] == pytest.approx(logits[0, 2] - logits[0, 0], abs=6e-4)
    assert "rather than cat" in page.text("h1")


def test_classes_have_their_logits_and_probabilities(page):
    _, _, _, logits = numbers(0)
    for text, logit in zip(page.texts(".values span"), logits[0]):
        shown, probability = text.split()
        assert number(shown) == pytest.approx(logit, abs=5.1e-3)
        assert number(probability) == pytest.approx(100 * expit(logit), abs=0.051)


def test_a_pixel_tells_its_channels_and_its_colour(page):
    images, weights, maps, _ = numbers(0)
    page.click("[data-id='3'] .pick")
    page.drag([(7, 11)])
    red, green, blue = images[0, 7, 11]
    assert f"{red}, {green}, {blue}" in page.text(".readout")
    assert number(page.text(".contribution")) == pytest.approx(maps[0, 3, 7, 11], rel=5e-3)
    encoded = np.append(images[0, 7, 11] / 255, 1 - images[0, 7, 11] / 255)
    parts = [number(text) for text in page.texts(".parts .number")]
    np.testing.assert_allclose(parts, weights[0, 3, 7, 11] * encoded, rtol=6e-3, atol=1e-5)


PIXELS = """
    const [p] = [...codaExplorer.stage.panelsOf(codaExplorer.sides[0])].slice(arguments[0]);
    const {picture} = p.pictures[0];
    return [...picture.getContext("2d").getImageData(0, 0, picture.width, picture.height).data];
"""


def test_colours_are_those_of_the_figures(page):
    _, weights, maps, logits = numbers(0)
    predicted = logits[0].argmax()
    shape = (HEIGHT, WIDTH, 4)
    pixels = np.array(page.js(PIXELS, 1)).reshape(shape)[..., :3]
    expected = contribution_rgb(maps[0, predicted])
    assert np.abs(pixels - expected.astype(int)).max() <= 1
    rgba = weights_rgba(weights[0, predicted])
    expected = 255 * (1 - rgba[..., 3:] * (1 - rgba[..., :3]))
    # The weights travel with 16 bits.
    assert np.abs(np.array(page.js(PIXELS, 2)).reshape(shape)[..., :3] - expected).max() < 1.5


def test_one_scale_for_all_is_that_of_the_library(page):
    _, _, maps, _ = numbers(0)
    page.press("s")
    assert page.js("return codaExplorer.sides[0].scale") == pytest.approx(shared_scale(maps))
    assert page.js("codaExplorer.set({percentile: 90}); return codaExplorer.sides[0].scale") == (
        pytest.approx(shared_scale(maps, 90))
    )
    page.press("s")
    predicted = numbers(0)[3][0].argmax()
    own = shared_scale(maps[0, predicted], 90)
    assert page.js("return codaExplorer.sides[0].scale") == pytest.approx(own)


def test_the_second_palette_and_signs(page):
    predicted = numbers(0)[3][0].argmax()
    values = numbers(0)[2][0, predicted]
    page.press("p", "g")
    pixels = np.array(page.js(PIXELS, 1)).reshape(HEIGHT, WIDTH, 4)
    strongest = np.unravel_index(values.argmin(), values.shape)
    assert pixels[strongest].tolist() == [69, 26, 130, 255]
    assert (
        page.js("return codaExplorer.stage.panels[0][1].drawn.signs.values.length") == values.size
    )


def test_keys_choose_images_and_classes(page):
    from selenium.webdriver.common.keys import Keys

    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, "4")
    assert "Why ship?" in page.text("h1")
    _, _, _, logits = numbers(0)
    assert page.account()["total"] == pytest.approx(logits[2, 4], abs=5.1e-4)
    assert (
        page.js("return document.querySelector('.strip [aria-current=true]').dataset.index") == "2"
    )
    page.press(Keys.ESCAPE)
    assert NAMES[logits[2].argmax()] in page.text("h1")
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.js("return codaExplorer.state.image") == COUNT - 1


def test_shift_and_0_show_all_of_the_image(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.press("3")
    page.js("codaExplorer.zoomBy(3, [3, 4])")
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys("0").key_up(Keys.SHIFT).perform()
    state = page.js("return codaExplorer.state")
    assert (state["zoom"], state["x"], state["y"], state["class"]) == (1, 0, 0, 3)


KEYS = {"←": "ArrowLeft", "→": "ArrowRight", "↑": "ArrowUp", "↓": "ArrowDown", "\u2212": "-"}
HEARD = """
    const [key, shiftKey] = arguments;
    const code = /[0-9]/.test(key) ? `Digit${key}` : "";
    const options = {key, code, shiftKey, bubbles: true, cancelable: true};
    const event = new KeyboardEvent("keydown", options);
    document.querySelector(".panel canvas").dispatchEvent(event);
    return event.defaultPrevented;
"""


def test_every_key_that_the_page_names_is_heard(page):
    named = page.js("return [...document.querySelectorAll('.help kbd')].map(e => e.textContent)")
    titles = page.js("return [...document.querySelectorAll('[title]')].map(e => e.title)")
    named += re.findall(r"\((shift \+ .|.|Escape)[,)]", " ".join(titles))
    assert len(named) > 20
    for text in named:
        keys = text.removeprefix("shift + ").replace("arrows", "← → ↑ ↓").replace("…", "").split()
        for key in keys:
            heard = page.js(HEARD, KEYS.get(key, key), text.startswith("shift"))
            assert heard, f"{key} of {text}"


def test_a_rectangle_can_be_drawn_with_keys(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.js("document.querySelectorAll('.panel canvas')[1].focus()")
    page.press(Keys.ENTER)
    chain = ActionChains(page.driver).key_down(Keys.SHIFT)
    chain.send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).send_keys(Keys.ENTER).key_down(Keys.SHIFT)
    chain.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN).key_up(Keys.SHIFT).send_keys(Keys.ENTER)
    chain.perform()
    row, column = HEIGHT // 2, WIDTH // 2 + 1
    selection = page.js("return codaExplorer.state.selection")
    assert selection == {"rect": [row, column, row + 1, column + 1]}


def test_a_link_reopens_exactly_this_view(page, browser):
    page.press("3", "o", "p", "s", "w")
    page.js("codaExplorer.zoomBy(2, [3, 4])")
    page.drag([(1, 1), (6, 9)])
    state = page.js("return codaExplorer.state")
    link = page.js("return codaExplorer.link.url()")
    account = page.account()
    browser.open(link)
    reopened = page.js("return codaExplorer.state")
    assert reopened.pop("x") == pytest.approx(state.pop("x"), abs=0.01)
    assert reopened.pop("y") == pytest.approx(state.pop("y"), abs=0.01)
    assert reopened == state and browser.account() == account


def test_a_link_with_nonsense_shows_the_start(browser, pages):
    link = "image=99&class=77&contrast=88&layer=9.9&selection=rect.1.2&zoom=-1&palette=x&a=y@z"
    browser.open(f"{pages}/one.html#{link}")
    assert browser.js("return codaExplorer.state.image") == COUNT - 1
    assert browser.js("return codaExplorer.state.selection") is None
    assert browser.js("return codaExplorer.state.zoom") == 1


def test_names_are_text_whatever_they_hold(page):
    assert NAMES[1] in page.texts(".classes .name")
    assert page.js("return document.querySelectorAll('.classes script').length") == 0
    assert b"<script" not in bytes(page.js(SAVED, "SVG"))


def test_two_views_have_one_pointer_and_one_selection(browser, pages):
    page = browser.open(f"{pages}/two.html")
    page.click("button.compare")
    page.until("return codaExplorer.sides.length == 2")
    page.ready().click("[data-id='1'] .pick")
    page.drag([(2, 2), (8, 8)])
    for side, seed in (("a", 0), ("b", 1)):
        _, _, maps, logits = numbers(seed)
        account = page.account(side)
        assert account["inside"] == pytest.approx(maps[0, 1, 2:9, 2:9].sum(), abs=6e-4)
        assert account["total"] == pytest.approx(logits[0, 1], abs=5.1e-4)
    values = [number(text) for text in page.texts(".contribution")]
    expected = [numbers(seed)[2][0, 1, 8, 8] for seed in (0, 1)]
    np.testing.assert_allclose(values, expected, rtol=6e-3)


def test_steps_have_a_slider(browser, pages):
    page = browser.open(f"{pages}/steps.html")
    assert page.text(".steps output") == "7"
    page.js(
        "const s = document.querySelector('.steps input'); s.value = 1;"
        "s.dispatchEvent(new Event('input'))"
    )
    page.until("return document.querySelector('.steps output').innerText == '5'")
    page.ready().press("2")
    assert page.account()["total"] == pytest.approx(numbers(1)[3][0, 2], abs=5.1e-4)


def test_maps_that_do_not_sum_to_the_logit_say_so(browser, pages):
    page = browser.open(f"{pages}/methods.html#a=GradCAM@1&class=2")
    account = page.account()
    assert "bias" not in account
    assert account["total"] == pytest.approx(numbers(2)[2][0, 2].sum(), abs=6e-4)
    assert "sum of the map" in page.text(".term.total")
    assert page.js("return document.querySelectorAll('.panel').length") == 2


COPIED = """
    const [name, done] = arguments;
    navigator.clipboard.writeText = async (text) => done(text);
    [...document.querySelectorAll(".export button")].find(b => b.innerText == name).click();
"""
SAVED = """
    const [name] = arguments;
    HTMLAnchorElement.prototype.click = () => {};
    return new Promise(resolve => {
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => {
            URL.createObjectURL = make;
            blob.arrayBuffer().then(bytes => resolve([...new Uint8Array(bytes)]));
            return make.call(URL, blob);
        };
        [...document.querySelectorAll(".export button")].find(b => b.innerText == name).click();
    });
"""


def test_numbers_are_copied_as_csv(page):
    _, _, maps, logits = numbers(0)
    page.press("3")
    page.drag([(0, 0), (2, 2)])
    pixels = list(
        csv.DictReader(io.StringIO(page.driver.execute_async_script(COPIED, "CSV pixels")))
    )
    contributions = np.array([float(row["contribution"]) for row in pixels]).reshape(HEIGHT, WIDTH)
    np.testing.assert_allclose(contributions, maps[0, 3], rtol=1e-6)
    assert sum(int(row["inside"]) for row in pixels) == 9
    parts = [sum(float(row[c]) for c in ("r", "g", "b", "1-r", "1-g", "1-b")) for row in pixels]
    np.testing.assert_allclose(np.reshape(parts, (HEIGHT, WIDTH)), maps[0, 3], atol=1e-4)

    text = page.driver.execute_async_script(COPIED, "CSV classes")
    classes = list(csv.DictReader(io.StringIO(text)))
    # A spreadsheet must take no name for a formula.
    expected = [name if name[0] != "=" else f"'{name}" for name in NAMES]
    assert [row["class"] for row in classes] == expected
    np.testing.assert_allclose([float(row["logit"]) for row in classes], logits[0], rtol=1e-6)
    inside = [float(row["inside"]) for row in classes]
    np.testing.assert_allclose(inside, maps[0, :, :3, :3].sum((1, 2)), atol=1e-5)


def test_the_view_is_saved_as_drawing_and_as_picture(page):
    from xml.etree import ElementTree

    from PIL import Image

    page.drag([(0, 0), (2, 2)])
    root = ElementTree.fromstring(bytes(page.js(SAVED, "SVG")))
    assert len(root.findall(".//{http://www.w3.org/2000/svg}image")) == 3
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("bias") and "inside" in text for text in texts)
    picture = Image.open(io.BytesIO(bytes(page.js(SAVED, "PNG"))))
    assert picture.format == "PNG" and picture.size[0] == 2 * round(float(root.get("width")))
    colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 100


def test_without_a_model_the_page_says_how_to_have_one(page):
    assert "--serve" in page.text(".removal")
    assert page.js("return document.querySelector('.removal button').checkVisibility()") is False


def test_twice_as_large_nothing_is_cut_off(browser, pages):
    browser.driver.set_window_size(720, 900)
    try:
        browser.open(f"{pages}/two.html")
        widths = browser.js("return [document.body.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]
        visible = "return document.querySelector('.account').getBoundingClientRect().bottom"
        assert browser.js(visible) <= browser.js("return innerHeight") + 1
    finally:
        browser.driver.set_window_size(1440, 1100)


def test_every_control_has_a_name(page):
    """What screen readers say of buttons, fields and pictures."""
    code = """
        const all = document.querySelectorAll("button, input, select, canvas:not([aria-hidden])");
        return [...all].filter(e => !(e.innerText?.trim() || e.getAttribute("aria-label") ||
            e.title || e.closest("label")?.innerText.trim())).map(e => e.outerHTML);
    """
    assert page.js(code) == []


def test_damaged_numbers_end_in_a_sentence(browser, pages, tmp_path):
    text = explorer.page(view())
    first = text.index('class="blob">') + len('class="blob">')
    damaged = tmp_path / "damaged.html"
    damaged.write_text(text[:first] + "AAAA" + text[first + 4 :])
    browser.driver.get(damaged.as_uri())
    browser.until("return document.querySelector('.message:not([hidden])')")
    assert "damaged" in browser.text(".message")


def test_a_page_loads_nothing_from_elsewhere():
    text = explorer.page(view())
    policy = text[text.index("Content-Security-Policy") :].split("\n")[0]
    assert "default-src 'none'" in policy and "http" not in policy.split('content="')[1]
    assert "</script>" not in text[text.index('id="data">') :].split("</script>", 1)[0]


def test_twenty_small_images_of_ten_classes_are_a_few_megabytes():
    images, weights, maps, logits = numbers(0, 20, (32, 32), 10)
    ids = np.tile(np.arange(10), (20, 1))
    shown = explorer.View(images, logits, ids, maps, bias=BIAS, weights=weights)
    assert len(explorer.page(shown)) < 5e6


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"class_names": NAMES[:2]}, "5 `class_names`"),
        ({"labels": [0, 1, 2, 9]}, "0 to 4"),
        ({"weights": np.zeros((1, 2, 3))}, "Expected `weights` of shape"),
        ({"activation": "relu"}, "sigmoid"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        view(**changes)


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="at least one view"):
        explorer.page([])


def test_the_manifest_is_plain_json():
    from coda_keras.explorer.storage import encoded_view

    manifest, blobs = encoded_view(view())
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
    assert len(blobs) == COUNT * (1 + CLASSES)


def test_views_are_equal_if_they_are_the_same():
    shown = view()
    assert shown == shown and shown != view() and len({shown, shown}) == 1
