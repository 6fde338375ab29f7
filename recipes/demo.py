"""The whole way once, on data that ships with a dependency: train, export, serve, ask.

    python recipes/demo.py

Trains recipes/digits.py (or takes up the run it finds in demo/digits), serves the result with
export/serve.py and sends images of the test set to it with export/client.py over gRPC.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from export import cli

RUN = Path("demo/digits")
MAPS = Path("demo/contribution_maps")


def main():
    cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if (RUN / "metrics.json").exists():
        print(f"Using the finished run in {RUN}; delete the folder to train anew.")
    else:
        subprocess.run([*script("recipes/digits.py"), "--output", RUN], check=True)

    serve = [*script("export/serve.py"), "--models", RUN / "servables", "--port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        address = next((line for line in server.stdout if line.startswith("serving")), "").split()
        if not address:
            sys.exit(f"demo.py: the server did not start (exit code {server.wait()})")
        images = sorted((RUN / "examples").glob("*.png"))
        client = [*script("export/client.py"), "--server", address[-1], "--model", "digits"]
        subprocess.run([*client, "--out", MAPS, "--overwrite", *images], check=True)
    finally:
        server.terminate()
        server.wait()

    print(f"\nThe most confident test images with their contribution maps: {RUN / 'gallery.png'}")
    print(f"The explorer of test images, to open in a browser: {RUN / 'explorer.html'}")
    print(f"The maps that came over gRPC: {MAPS}/")
    print("Training, maps and alignment in TensorBoard: tensorboard --logdir demo")


def script(name):
    return [sys.executable, ROOT / name]


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
