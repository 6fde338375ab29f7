"""A real browser for tests: Debian's Chromium, headless."""

import os
import shutil
import time

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)
# Seconds that nothing takes, however busy the machine is.
LIMIT = 600
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")


class Page:
    """The viewer in the browser: what a reader sees of it, and does to it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get("about:blank")
        self.driver.get(url)
        return self.ready()

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, code, *arguments, seconds=LIMIT):
        """Waits until JavaScript returns something true; returns it."""
        deadline = time.monotonic() + seconds
        while not (answer := self.js(code, *arguments)):
            assert time.monotonic() < deadline, (
                f"waited {seconds} s in vain for: {code}\n{self.text('body')}"
            )
            time.sleep(0.02)
        return answer

    def ready(self):
        """Waits until what is asked for is loaded and shown."""
        self.until(
            "return globalThis.codaExplorer?.sides.length > 0 && codaExplorer.sides.every("
            "s => s.picture && (s.quantity?.values || typeof s.quantity === 'string'))"
        )
        return self

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.innerText", selector)

    def texts(self, selector):
        code = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        return self.js(code, selector)

    def click(self, selector):
        self.js("document.querySelector(arguments[0]).click()", selector)
        return self.ready()

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        return self.ready()

    def account(self, side="a"):
        """The account on screen, as numbers."""
        code = """
            const terms = document.querySelectorAll(`.sum[data-side=${arguments[0]}] .term`);
            return Object.fromEntries([...terms].map(
                t => [t.dataset.term, t.querySelector("output").innerText]));
        """
        return {name: number(text) for name, text in self.js(code, side).items()}

    def drag(self, pixels, panel=0):
        """Presses, moves and releases the mouse over pixels `(row, column)` of a panel."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.driver.find_elements("css selector", ".panel canvas")[panel]
        self.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
        height, width = self.js("return codaExplorer.size")
        box = canvas.rect

        def offset(place):
            row, column = place
            x = (column + 0.5) / width * box["width"] - box["width"] / 2
            y = (row + 0.5) / height * box["height"] - box["height"] / 2
            return round(x), round(y)

        chain = ActionChains(self.driver, duration=0)
        chain.move_to_element_with_offset(canvas, *offset(pixels[0]))
        if len(pixels) > 1:
            chain.click_and_hold()
            for place in pixels[1:]:
                chain.move_to_element_with_offset(canvas, *offset(place))
            chain.release()
        chain.perform()
        return self.ready()

    def errors(self):
        """What the console complains of since the last call."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def number(text):
    """A number as the viewer writes it."""
    return float(text.replace("\u2212", "-").rstrip("%"))


def launch(width=1440, height=1100, scale=1):
    """Starts the browser; its driver.

    Args:
        width, height: int, of the window.
        scale: number, pixels of the screen for each of the page.

    Raises:
        OSError: if there is no browser.
    """
    from selenium import webdriver

    if not CHROMIUM or not DRIVER:
        raise OSError("There is no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.add_argument(f"--force-device-scale-factor={scale}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = _started(options)
    # Selenium would give up after two minutes, on a busy machine too.
    started.command_executor.client_config.timeout = LIMIT
    started.set_script_timeout(LIMIT)
    started.set_page_load_timeout(LIMIT)
    return started


def _started(options, attempts=5):
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    for left in reversed(range(attempts)):
        try:
            return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        except WebDriverException:
            # The driver waits for its browser for a minute.
            if not left:
                raise
    return None


@pytest.fixture(scope="session")
def driver():
    try:
        started = launch()
    except (ImportError, OSError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    yield started
    started.quit()


@pytest.fixture
def browser(driver):
    """The browser; a test fails if its console has errors in the end."""
    page = Page(driver)
    page.errors()
    yield page
    assert page.errors() == []
