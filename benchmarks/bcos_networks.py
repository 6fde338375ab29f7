"""B-cos networks beside the PyTorch package `bcos`: the same numbers, and how long both take.

    PYTHONPATH=. python benchmarks/bcos_networks.py --output benchmarks/results/bcos_networks.json

Needs PyTorch, torchvision, and the packages `bcos` and `einops`. Nets of random weights, whose
state dicts are imported. For every net: the largest differences of logits less b_0 and of
contributions, as shares of the largest; then, in turn in one process, times of a forward pass of a
batch and of explaining it, ours compiled, theirs by its `explain`, an image a call. Last how much
memory the process needs more for explaining so many images with `explain_dataset`.
"""

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.imported import difference
from coda_keras.utils import provenance
from coda_keras.utils.command_line import Parser, command, positive_int
from coda_keras.utils.files import write_json
from coda_keras.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
NETS = ("resnet_18", "resnet_50", "densenet_121", "simple_vit_ti_patch16_224")
SIZE = 224


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    rows = []
    for name in args.nets:
        rows.append(compare(name, args.batch_size, args.repetitions, args.many))
        print(*table(rows[-1:]), sep="\n", flush=True)
    packages = ("coda-keras", "tensorflow", "keras", "numpy", "torch", "torchvision", "bcos")
    record = {
        **provenance.record(vars(args)),
        "versions": provenance.versions(packages),
        "commit": provenance.commit(ROOT),
        "load_average": os.getloadavg(),
        "results": rows,
    }
    write_json(args.output, record)


def compare(name: str, batch_size: int, repetitions: int, many: int) -> dict[str, Any]:
    """Differences and times of one net.

    Args:
        name: of an architecture.
        batch_size: int, random images.
        repetitions: int, of which the fastest counts; 0 times nothing.
        many: int, images that are explained for the memory; 0 for none.
    """
    import torch

    from coda_keras.importing import bcos

    torch.manual_seed(0)
    module = theirs(name)
    pixels = np.random.default_rng(0).uniform(size=(batch_size, SIZE, SIZE, 3)).astype("float32")
    encoded = np.concatenate([pixels, 1 - pixels], -1).transpose(0, 3, 1, 2)
    images = torch.from_numpy(encoded.copy())
    settle(module, images)
    net = bcos.net({key: value.numpy() for key, value in module.state_dict().items()}, name)
    with torch.no_grad():
        logits = module(images).numpy()
    class_ids = logits.argmax(1)
    own = net.explain(pixels, class_ids).numpy()
    contributions = np.stack(explain_each(module, images, class_ids))
    row = {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "batch_size": batch_size,
        "logits": difference(own.logits - net.logit_bias, logits - net.logit_bias),
        "contributions": difference(own.contributions, contributions.transpose(0, 2, 3, 1)),
    }
    if repetitions:
        row["times"] = times(
            {
                "forward": lambda: net.predict_on_batch(pixels),
                "forward of theirs": lambda: forward(module, images),
                "explain": lambda: net.explain(pixels, class_ids).numpy(),
                "explain of theirs": lambda: explain_each(module, images, class_ids),
            },
            repetitions,
        )
    if many:
        row["many"], row["memory_growth_mib"] = many, memory(net, pixels, many)
    return row


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


def times(functions: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Seconds that functions take at best; they take turns."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    for _ in range(repetitions):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def memory(net: Any, pixels: np.ndarray, many: int) -> float:
    """Mebibytes by which the largest memory of this process grows, of so many images."""
    from coda_keras import explain_dataset

    batches = (pixels for _ in range(-(-many // len(pixels))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for explanation in explain_dataset(net, batches, progress=False):
        assert np.isfinite(explanation.contribution_map).all()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown. Ratios above 1 say that ours is faster."""
    head = ["net", "parameters", "difference of logits", "of contributions"]
    head += ["forward, theirs / ours", "explaining, theirs / ours", "images, memory"]
    return markdown_table(head, map(_cells, rows))


def _cells(row):
    seconds = row.get("times")
    ratios = [seconds[f"{what} of theirs"] / seconds[what] for what in ("forward", "explain")]
    return [
        row["name"],
        f"{row['parameters'] / 1e6:.1f}M",
        f"{row['logits']:.1e}",
        f"{row['contributions']:.1e}",
        *(f"{ratio:.2f}" for ratio in ratios),
        f"{row['many']}, +{row['memory_growth_mib']:.0f} MiB",
    ]


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--nets", nargs="+", default=NETS, help="names of architectures")
    parser.add_argument("--batch-size", type=positive_int, default=4, help="images (default: 4)")
    parser.add_argument("--repetitions", type=positive_int, default=3, help="default: 3")
    parser.add_argument("--many", type=positive_int, default=64, help="images (default: 64)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
