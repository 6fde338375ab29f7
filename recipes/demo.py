"""Explains photographs, then trains a net, packages it, serves it and asks it, without a download.

    coda-keras demo

First the trained net that comes with the package: `coda-keras package` makes a servable of it,
`coda-keras serve` serves it, and `coda-keras ask` asks it over gRPC for logits and maps of the
photographs that come with the package. `coda-keras explore --live` leaves demo/live.html, a page
that explains any photograph dropped on it. Then the same for a net of digits, which `coda-keras
train digits` trains first; a run that is in demo/digits already is continued.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from coda_keras.data import examples
from coda_keras.utils.command_line import Parser, command

PRESET = "s_coda_quarter_cifar10"
PHOTOGRAPH_SERVABLES, PHOTOGRAPH_MAPS = Path("demo/photographs"), Path("demo/photograph_maps")
LIVE = Path("demo/live.html")
RUN = Path("demo/digits")
MAPS = Path("demo/contribution_maps")


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    Parser(prog=prog, description=__doc__).parse_args(arguments)
    try:
        demonstrate()
    except subprocess.CalledProcessError as failure:
        # It has said why.
        sys.exit(failure.returncode)


def demonstrate() -> None:
    """Explains photographs, then trains a net and explains digits."""
    print(f"Photographs, explained by the trained net {PRESET}:\n", flush=True)
    if not (PHOTOGRAPH_SERVABLES / PRESET).exists():
        package = [*command_line("package"), "--model", PRESET, "--name", PRESET]
        subprocess.run([*package, "--out", PHOTOGRAPH_SERVABLES], check=True)
    ask(PHOTOGRAPH_SERVABLES, PRESET, examples.paths("cifar10"), PHOTOGRAPH_MAPS)
    print(f"\nTheir contribution maps: {PHOTOGRAPH_MAPS}/\n", flush=True)
    explore = [*command_line("explore"), "--live", "--model", PRESET]
    # Beside what follows, which does not need it.
    page = subprocess.Popen([*explore, "--overwrite", "--output", LIVE], stdout=subprocess.DEVNULL)
    try:
        digits()
    finally:
        code = page.wait()
    if code:
        raise subprocess.CalledProcessError(code, page.args)

    print(f"\nThe photographs' maps: {PHOTOGRAPH_MAPS}/")
    print(f"The net in a page, for a photograph of yours, to open in a browser: {LIVE}")
    print(f"The most confident test digits with their contribution maps: {RUN / 'gallery.png'}")
    print(f"The explorer of test digits, to open in a browser: {RUN / 'explorer.html'}")
    print(f"The digits' maps that came over gRPC: {MAPS}/")
    print("Training, maps and alignment in TensorBoard: tensorboard --logdir demo")


def digits() -> None:
    """Trains a net on digits, unless there is one, serves it and asks it."""
    if (RUN / "metrics.json").exists():
        print(f"Using the finished run in {RUN}; delete the folder to train anew.", flush=True)
    else:
        print("A net of your own, trained on digits:\n", flush=True)
        subprocess.run([*command_line("train", "digits"), "--output", RUN], check=True)
    ask(RUN / "servables", "digits", sorted((RUN / "examples").glob("*.png")), MAPS)


def ask(servables: Path, model: str, images: Sequence[Path], maps: Path) -> None:
    """Serves a folder of servables and sends images to a model in it, over gRPC."""
    serve = [*command_line("serve"), "--models", servables, "--port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        address = next((line for line in server.stdout if line.startswith("serving")), "").split()
        if not address:
            raise OSError(f"The server did not start (exit code {server.wait()}).")
        client = [*command_line("ask"), "--server", address[-1], "--model", model]
        subprocess.run([*client, "--out", maps, "--overwrite", *images], check=True)
    finally:
        server.terminate()
        server.wait()


def command_line(*names: str) -> list[str]:
    """The beginning of a command line."""
    return [sys.executable, "-m", "coda_keras", *names]


if __name__ == "__main__":
    main()
