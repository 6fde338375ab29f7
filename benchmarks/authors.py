"""The authors' own PyTorch code as a contender of `layers.py`: the same net with the same weights.

Needs PyTorch and, in PYTHONPATH, a clone of https://github.com/moboehle/CoDA-Nets.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from coda_keras import CoDANet
from coda_keras.importing import authors


def copy(net: CoDANet) -> Any:
    """`net` as a module of the authors' code."""
    import torch
    from models.simple_coda import make_coda_net
    from modules.norms import Squashing

    module = make_coda_net(**authors.arguments(net), norm_function=Squashing)
    state = authors.state_dict(net)
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
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
