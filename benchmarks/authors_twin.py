"""A twin in PyTorch of the modules that the authors' published state dicts belong to.

The same parameter names and arithmetic as https://github.com/moboehle/CoDA-Nets, written anew from
the paper's equations: what importing is held against where a clone of their code is not at hand.
Needs PyTorch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coda_keras.models.presets import Preset


class Weights(nn.Module):
    """Computes w(p) and the norm to divide by (SQ, eq. 3) for every position."""

    def __init__(self, channels: int, daus: int, rank: int, size: int, stride: int) -> None:
        super().__init__()
        self.daus, self.size, self.stride = daus, size, stride
        self.padding = (size - 1) // 2
        depth = channels * size * size
        self.weighting_f = nn.Sequential(
            nn.Conv2d(channels, rank, size, stride, self.padding, bias=False),
            nn.Conv2d(rank, depth * daus, 1),
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        flat = self.weighting_f(inputs)
        vectors = flat.reshape(len(flat), -1, self.daus, *flat.shape[-2:])
        norm = torch.linalg.vector_norm(vectors, dim=1)
        return vectors, (1 + norm**2) / norm


class Layer(nn.Module):
    """A layer of DAUs; with `constant` its weights are no part of the gradient."""

    def __init__(self, channels: int, daus: int, rank: int, size: int, stride: int) -> None:
        super().__init__()
        self.weight_mod = Weights(channels, daus, rank, size, stride)
        self.constant = False

    def forward(self, inputs: Tensor) -> Tensor:
        weights = self.weight_mod
        vectors, norm = weights(inputs)
        if self.constant:
            vectors, norm = vectors.detach(), norm.detach()
        patches = F.unfold(inputs, weights.size, padding=weights.padding, stride=weights.stride)
        patches = patches.reshape(len(inputs), -1, 1, *vectors.shape[-2:])
        return (patches * vectors).sum(1) / norm


class Net(nn.Sequential):
    """A net with the sizes of a preset, initial weights of PyTorch.

    Args:
        preset: sizes of Table C.1.
        temperature: T.
        ranks: other ranks than the preset's, or None.
    """

    def __init__(
        self, preset: Preset, temperature: float, ranks: Sequence[int] | None = None
    ) -> None:
        channels = (6, *preset.filters)
        sizes = zip(
            channels, preset.filters, ranks or preset.ranks, preset.kernel_sizes, preset.strides
        )
        super().__init__(*(Layer(*shape) for shape in sizes))
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images) + math.log(0.1 / 0.9)

    def linear(self, images: Tensor) -> Tensor:
        """Logits without b_0."""
        return super().forward(images).sum((2, 3)) / self.temperature

    def explain(self, images: Tensor, class_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Logits without b_0, and contributions `(B, 6, H, W)` of one class an image, encoded."""
        for layer in self:
            layer.constant = True
        images = images.clone().requires_grad_()
        logits = self.linear(images)
        chosen = logits[range(len(images)), list(class_ids)]
        (gradient,) = torch.autograd.grad(chosen.sum(), images)
        return logits.detach(), (images * gradient).detach()
