"""The authors' own PyTorch code as a contender of `layers.py`: the same net with the same weights.

Needs PyTorch and, in PYTHONPATH, a clone of https://github.com/moboehle/CoDA-Nets.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from coda_keras import CoDANet, DAUConv2D


def layer_weights(layer: DAUConv2D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B, A and b of a layer as the authors' two convolutions hold them.

    Channels come before rows and columns; the second convolution has an output for every entry of
    the patch and, innermost, every unit.
    """
    projection, kernel, bias = layer.get_weights()
    by_entry = kernel.transpose(2, 0, 1, 3, 4)
    return (
        projection.transpose(3, 2, 0, 1),
        by_entry.reshape(-1, layer.rank, 1, 1),
        bias.transpose(2, 0, 1, 3).reshape(-1),
    )


def copy(net: CoDANet) -> Any:
    """`net` as a module of the authors' code."""
    import torch
    from models.simple_coda import make_coda_net
    from modules.norms import Squashing

    layers = [layer for layer in net.body if isinstance(layer, DAUConv2D)]
    module = make_coda_net(
        2 * 3,
        [layer.filters for layer in layers],
        [layer.rank for layer in layers],
        [layer.kernel_size for layer in layers],
        [layer.strides for layer in layers],
        [(layer.kernel_size - 1) // 2 for layer in layers],
        Squashing,
        net.logit_bias,
        net.temperature,
    )
    with torch.no_grad():
        for theirs, ours in zip(module, layers):
            first, second = theirs.weight_mod.weighting_f
            for parameter, values in zip((first.weight, *second.parameters()), layer_weights(ours)):
                parameter.copy_(torch.from_numpy(values.copy()))
    return module


def operation(module: Any, name: str) -> Callable:
    """A function of `(images, labels)` that does what `contender.operation` does."""
    import torch

    optimizer = torch.optim.Adam(module.parameters(), 1e-4)
    loss_function = torch.nn.BCEWithLogitsLoss()
    for layer in module:
        if hasattr(layer, "explanation_mode"):
            layer.explanation_mode(name == "explain")

    def run(images, labels):
        images = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        encoded = torch.cat([images, 1 - images], 1)
        if name == "forward":
            with torch.no_grad():
                return module(encoded)
        if name == "explain":
            encoded.requires_grad_()
            module(encoded).amax(1).sum().backward()
            return (encoded.grad * encoded).detach().sum(1)
        optimizer.zero_grad()
        logits = module(encoded)
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(np.array(labels)), logits.shape[1])
        loss = loss_function(logits, one_hot.float())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run
