"""B-cos networks beside the PyTorch package `bcos`: the same numbers, times and memory.

    PYTHONPATH=. python benchmarks/bcos_networks.py --output benchmarks/results/bcos_networks.json

Needs PyTorch, torchvision, and the packages `bcos` and `einops`. Nets have random weights, written
by `torch.save` and imported as `coda-keras import bcos` does it. For every net, in three parts:

- differences: the largest of logits less b_0 and of contributions, as shares of the largest value;
- times of a forward pass and of explaining, in turn in one process, the best of some repetitions;
  ours are compiled, theirs are of its `explain`, which takes an image a call;
- memory: the most that the process holds while `net.explain(images, batch_size=4)` explains 64
  images, and while it explains 4. Linux only.

--parts measures some of them. What --output has of other parts and nets is kept.
"""

import argparse
import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.imported import difference
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
NETS = ("resnet_18", "resnet_50", "densenet_121", "simple_vit_ti_patch16_224")
PARTS = ("differences", "times", "memory")
SIZE = 224
AT_A_TIME, MANY = 4, 64
# Threads of a library that has just computed wait busily for more.
PAUSE = 0.3


class Pair(NamedTuple):
    """A net of the package, and the same imported."""

    module: Any
    net: Any


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    rows = {}
    if args.output.is_file():
        rows = {row["name"]: row for row in json.loads(args.output.read_text("utf-8"))["results"]}
    for name in args.nets:
        row = rows.setdefault(name, {"name": name})
        both = pair(name)
        row["parameters"] = sum(parameter.numel() for parameter in both.module.parameters())
        if "differences" in args.parts:
            row["differences"] = differences(both, args.batch_size)
        if "times" in args.parts:
            sizes = (1, args.batch_size)
            row["times"] = [times(both, size, args.repetitions) for size in sizes]
        if "memory" in args.parts:
            row["memory"] = memory(both.net)
        row["load_average"] = os.getloadavg()
        print(*table([row]), sep="\n", flush=True)
    packages = ("coda-keras", "tensorflow", "keras", "numpy", "torch", "torchvision", "bcos")
    record = {
        **provenance.record(vars(args)),
        "versions": provenance.versions(packages),
        "commit": provenance.commit(ROOT),
        "results": [rows[name] for name in sorted(rows, key=list(NETS).index)],
    }
    write_json(args.output, record)


def pair(name: str) -> Pair:
    """A net of random weights, by the package and imported from its file."""
    import torch

    from coda_keras.importing import bcos, torch_file

    torch.manual_seed(0)
    module = theirs(name)
    settle(module, tensor(images(4)))
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / f"{name}.pth"
        torch.save(module.state_dict(), stored)
        return Pair(module, bcos.net(torch_file.read(stored), name))


def images(count: int) -> np.ndarray:
    """Random images `(count, 224, 224, 3)`."""
    return np.random.default_rng(0).uniform(size=(count, SIZE, SIZE, 3)).astype("float32")


def tensor(pixels: np.ndarray) -> Any:
    """Images as the package takes them, `(B, 6, H, W)`."""
    import torch

    encoded = np.concatenate([pixels, 1 - pixels], -1).transpose(0, 3, 1, 2)
    return torch.from_numpy(encoded.copy())


def differences(both: Pair, batch_size: int) -> dict[str, Any]:
    """The largest differences of `logits` and `contributions` of the predicted classes."""
    import torch

    pixels = images(batch_size)
    encoded, bias = tensor(pixels), both.net.logit_bias
    with torch.no_grad():
        logits = both.module(encoded).numpy()
    class_ids = logits.argmax(1)
    own = both.net.explain(pixels, class_ids).numpy()
    contributions = np.stack(explain_each(both.module, encoded, class_ids))
    return {
        "batch_size": batch_size,
        "logits": difference(own.logits - bias, logits - bias),
        "contributions": difference(own.contributions, contributions.transpose(0, 2, 3, 1)),
    }


def times(both: Pair, batch_size: int, repetitions: int) -> dict[str, Any]:
    """Seconds that a batch takes at best, by either; the functions take turns."""
    pixels, class_ids = images(batch_size), np.arange(batch_size)
    encoded = tensor(pixels)
    functions: dict[str, Callable[[], Any]] = {
        "forward": lambda: both.net.predict_on_batch(pixels),
        "forward of theirs": lambda: forward(both.module, encoded),
        "explain": lambda: both.net.explain(pixels, class_ids).numpy(),
        "explain of theirs": lambda: explain_each(both.module, encoded, class_ids),
    }
    best = dict.fromkeys(functions, float("inf"))
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            function()
            # The first call compiles.
            if repetition:
                best[name] = min(best[name], time.perf_counter() - begin)
    return {"batch_size": batch_size, "repetitions": repetitions, **best}


def memory(net: Any) -> dict[str, Any]:
    """Mebibytes that the process holds before it explains, and at most while it does."""
    pixels = images(MANY)
    found: dict[str, Any] = {"images": MANY, "batch_size": AT_A_TIME}
    net.explain(pixels[:1]).numpy()
    found["before"] = resident()
    for name, count in (("of_a_batch", AT_A_TIME), ("of_all", MANY)):
        # Makes the peak what is held now.
        Path("/proc/self/clear_refs").write_text("5")
        explanation = net.explain(pixels[:count], batch_size=AT_A_TIME).numpy()
        found[name] = resident("VmHWM")
        found[f"{name}_result"] = sum(a.nbytes for a in explanation.arrays().values()) / 2**20
    return found


def resident(line: str = "VmRSS") -> float:
    """Mebibytes of memory that this process holds, or held at most."""
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(rf"{line}:\s+(\d+) kB", status)
    return int(kilobytes) / 1024


def theirs(name: str) -> Any:
    """A net of the package, as its configurations for ImageNet make it, initial weights."""
    import math
    from functools import partial

    import torch
    from bcos.models import densenet, resnet, vit
    from bcos.modules import BcosConv2d, norms
    from bcos.modules.bcoslinear import BcosLinear
    from bcos.modules.common import BcosSequential
    from bcos.modules.logitlayer import LogitLayer

    bias = -math.log(999)
    if name.startswith("simple_vit"):
        with warnings.catch_warnings():
            # That the bias is not in it; it is added here.
            warnings.simplefilter("ignore")
            body = getattr(vit, name)(
                linear_layer=BcosLinear,
                norm_layer=norms.NoBias(norms.DetachableLayerNorm),
                act_layer=torch.nn.Identity,
            )
        return BcosSequential(body, LogitLayer(logit_bias=bias))
    module = resnet if name.startswith("resnet") else densenet
    return getattr(module, name.replace("_", ""))(
        norm_layer=norms.NoBias(norms.BatchNormUncentered2d),
        conv_layer=partial(BcosConv2d, b=2, max_out=1),
        logit_bias=bias,
    )


def settle(module: Any, images: Any) -> None:
    """Gives a net scales and variances unlike the initial ones, and ends its training."""
    import torch

    for part in module.modules():
        if isinstance(part, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
            part.weight.data.uniform_(0.5, 1.5)
            part.momentum = 1.0
    module.train()
    with torch.no_grad():
        module(images)
    module.train(False)


def forward(module: Any, images: Any) -> None:
    """Runs a module of PyTorch without gradients."""
    import torch

    with torch.no_grad():
        module(images)


def explain_each(module: Any, images: Any, class_ids: np.ndarray) -> list[np.ndarray]:
    """Contributions `(6, H, W)` of every image, by the package's `explain`."""
    found = []
    for image, class_id in zip(images, class_ids):
        made = module.explain(image[None].clone().requires_grad_(), idx=int(class_id))
        found.append((image * made["dynamic_linear_weights"][0]).detach().numpy())
    return found


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown. Ratios above 1 say that ours is faster."""
    sizes = [timed["batch_size"] for timed in rows[0].get("times", [])]
    head = ["net", "parameters", "difference of logits", "of contributions"]
    head += [f"{what} of {size}" for what in ("forward pass", "explaining") for size in sizes]
    return markdown_table([*head, f"memory, {AT_A_TIME} images", f"{MANY}"], map(_cells, rows))


def _cells(row):
    compared, held = row.get("differences", {}), row.get("memory", {})
    cells = [row["name"], f"{row['parameters'] / 1e6:.1f}M"]
    cells += [f"{compared[name]:.1e}" if compared else "" for name in ("logits", "contributions")]
    for what in ("forward", "explain"):
        for timed in row.get("times", []):
            own, other = timed[what], timed[f"{what} of theirs"]
            cells.append(f"{other / own:.2f} ({1000 * own:.0f} ms)")
    peaks = [held[name] / 1024 if held else None for name in ("of_a_batch", "of_all")]
    return [*cells, *("" if peak is None else f"{peak:.2f} GiB" for peak in peaks)]


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--nets", nargs="+", default=NETS, choices=NETS, help="default: all")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="default: all")
    parser.add_argument("--batch-size", type=positive_int, default=4, help="images (default: 4)")
    parser.add_argument("--repetitions", type=positive_int, default=3, help="default: 3")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
