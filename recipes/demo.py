"""The whole way once, without a download: explain photographs, then train, export, serve, ask.

    python recipes/demo.py

First the trained net that comes with the package: export/package.py makes a servable of it,
export/serve.py serves it, and export/client.py asks it over gRPC for logits and maps of
the photographs that come with the package. Then the same for a net of one's own: recipes/digits.py
trains one on scikit-learn's digits (or the run found in demo/digits is taken up).
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from coda_keras.utils.command_line import Parser

ROOT = Path(__file__).resolve().parents[1]


PRESET = "s_coda_quarter_cifar10"
# Beside the recipes in a clone, elsewhere in an installation; nothing is imported for it.
LIBRARY = Path(find_spec("coda_keras").submodule_search_locations[0])
PHOTOGRAPHS = LIBRARY / "examples/cifar10"
PHOTOGRAPH_SERVABLES, PHOTOGRAPH_MAPS = Path("demo/photographs"), Path("demo/photograph_maps")
RUN = Path("demo/digits")
MAPS = Path("demo/contribution_maps")


def main():
    Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"Photographs, explained by the trained net {PRESET}:\n", flush=True)
    if not (PHOTOGRAPH_SERVABLES / PRESET).exists():
        package = [*script("export/package.py"), "--model", PRESET, "--name", PRESET]
        subprocess.run([*package, "--out", PHOTOGRAPH_SERVABLES], check=True)
    ask(PHOTOGRAPH_SERVABLES, PRESET, sorted(PHOTOGRAPHS.glob("*.png")), PHOTOGRAPH_MAPS)
    print(f"\nTheir contribution maps: {PHOTOGRAPH_MAPS}/\n", flush=True)

    if (RUN / "metrics.json").exists():
        print(f"Using the finished run in {RUN}; delete the folder to train anew.", flush=True)
    else:
        print("A net of your own, trained on digits:\n", flush=True)
        subprocess.run([*script("recipes/digits.py"), "--output", RUN], check=True)
    ask(RUN / "servables", "digits", sorted((RUN / "examples").glob("*.png")), MAPS)

    print(f"\nThe photographs' maps: {PHOTOGRAPH_MAPS}/")
    print(f"The most confident test digits with their contribution maps: {RUN / 'gallery.png'}")
    print(f"The explorer of test digits, to open in a browser: {RUN / 'explorer.html'}")
    print(f"The digits' maps that came over gRPC: {MAPS}/")
    print("Training, maps and alignment in TensorBoard: tensorboard --logdir demo")


def ask(servables: Path, model: str, images: Sequence[Path], maps: Path) -> None:
    """Serves a folder of servables and sends images to a model in it, over gRPC."""
    serve = [*script("export/serve.py"), "--models", servables, "--port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        address = next((line for line in server.stdout if line.startswith("serving")), "").split()
        if not address:
            sys.exit(f"demo.py: the server did not start (exit code {server.wait()})")
        client = [*script("export/client.py"), "--server", address[-1], "--model", model]
        subprocess.run([*client, "--out", maps, "--overwrite", *images], check=True)
    finally:
        server.terminate()
        server.wait()


def script(name):
    return [sys.executable, ROOT / name]


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
