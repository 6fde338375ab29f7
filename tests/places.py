"""The places where the explorer lives, started for tests and pictures: TensorBoard, JupyterLab."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

# Seconds that nothing takes, however busy the machine is.
LIMIT = 600
JUPYTER_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def tensorboard(logs, *flags):
    """Starts TensorBoard with the tab in a thread of this process; returns its address."""
    from tensorboard import default, program

    from coda_keras.tensorboard.plugin import ExplanationsLoader

    # The entry point may be installed or not.
    board = program.TensorBoard([*default.get_static_plugins(), ExplanationsLoader()])
    board.configure(argv=["tensorboard", "--logdir", str(logs), "--port", "0", *flags])
    return board.launch()


def enter_tab(page):
    """Goes into the frame of the tab, once the viewer in it has started."""
    code = "return document.querySelector('iframe')?.contentWindow?.codaExplorer ? true : false"
    page.until(code)
    page.driver.switch_to.frame(page.driver.find_element("css selector", "iframe"))
    return page


@contextmanager
def jupyter_lab(folder, cells):
    """Runs JupyterLab with a notebook of `cells`, look.ipynb; yields the notebook's address."""
    folder = Path(folder)
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": [{**blank, "id": f"c{i}", "source": source} for i, source in enumerate(cells)],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "look.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / ".jupyter") for name in JUPYTER_FOLDERS}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--expose-app-in-browser", "--ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.news_url=None"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", process, folder / "log")
        yield f"http://127.0.0.1:{port}/lab/tree/look.ipynb"
    finally:
        process.terminate()
        process.wait()


def run_notebook(page, url, viewers):
    """Opens a notebook, runs all of it, and waits for so many viewers; their frames."""
    page.driver.get(url)
    page.until("return globalThis.jupyterapp?.shell.currentWidget?.context?.isReady")
    page.until("return jupyterapp.shell.currentWidget.sessionContext.isReady")
    page.js("jupyterapp.commands.execute('notebook:run-all-cells')")
    frames = "[...document.querySelectorAll('iframe')].filter(f => f.contentWindow?.codaExplorer)"
    page.until(f"return {frames}.length === {viewers}")
    return page.js(f"return {frames}")


def leave_notebook(page):
    """Goes away without a question about unsaved changes."""
    page.driver.switch_to.default_content()
    page.js("window.onbeforeunload = null; jupyterapp?.serviceManager.sessions.shutdownAll()")
    page.driver.get("about:blank")


def said(process, log, pattern):
    """Waits until a process writes to its log what a pattern matches; returns that."""
    deadline = time.monotonic() + LIMIT
    while not (match := re.search(pattern, log.read_text())):
        there = process.poll() is None and time.monotonic() < deadline
        assert there, f"waited in vain for {pattern}: {log.read_text()}"
        time.sleep(0.1)
    return match[0]


def _wait_for(url, process, log):
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return urllib.request.urlopen(url, timeout=60).close()
        except OSError:
            there = process.poll() is None and time.monotonic() < deadline
            assert there, f"waited in vain for {url}: {log.read_text()}"
            time.sleep(0.1)
