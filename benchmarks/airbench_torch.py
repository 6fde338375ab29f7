"""airbench94_muon (Jordan, 2024) in PyTorch, for `teacher_twin`: net, optimisers, views."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WIDTHS = (64, 256, 256)
BATCH, RATE, MOMENTUM, SMOOTHING, SHIFT = 2000, 0.24, 0.6, 0.2, 2
# By momentum SGD: biases and the last layer, whose decay is of their rate.
BIAS_RATE, HEAD_RATE, SGD_MOMENTUM, DECAY = 0.053, 0.67, 0.85, 2e-6 * BATCH
WHITENING_BIAS_EPOCHS, RIDGE = 3, 5e-4
# Of the quintic iteration that makes a matrix orthogonal (Jordan, 2024, Muon).
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 3


class Twin(nn.Module):
    """Whitening, three groups of two convolutions, a linear layer."""

    def __init__(self, images: Tensor, classes: int):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        self.whitening.weight = nn.Parameter(whitening(images), requires_grad=False)
        nn.init.zeros_(self.whitening.bias)
        groups, channels = [], 24
        for width in WIDTHS:
            groups += [convolution(channels, width), nn.MaxPool2d(2), normalisation(width)]
            groups += [nn.GELU(), convolution(width, width), normalisation(width), nn.GELU()]
            channels = width
        self.groups = nn.Sequential(nn.GELU(), *groups, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(channels, classes, bias=False)
        with torch.no_grad():
            self.head.weight /= self.head.weight.std()

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.whitening(images)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.groups(outputs)
        return self.head(outputs.float()) / outputs.shape[-1]


def whitening(images: Tensor) -> Tensor:
    """Kernels by which patches of 2x2 pixels have unit variance and no correlation."""
    patches = functional.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    kernels = (directions / (variances + RIDGE).sqrt()).T.reshape(12, 3, 2, 2)
    return torch.cat([kernels, -kernels])


def convolution(channels: int, filters: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, filters, 3, padding="same", bias=False)
    nn.init.dirac_(layer.weight.data[:channels])
    return layer


def normalisation(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.6)
    layer.weight.requires_grad = False
    return layer


class Muon:
    """Orthogonal steps on kernels of a norm that stays."""

    def __init__(self, kernels: Sequence[nn.Parameter]):
        self.kernels = [(kernel, torch.zeros_like(kernel)) for kernel in kernels]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for kernel, mean in self.kernels:
            mean.mul_(MOMENTUM).add_(kernel.grad)
            matrix = (kernel.grad + MOMENTUM * mean).flatten(1)
            kernel *= math.sqrt(len(kernel)) / kernel.norm()
            kernel -= rate * orthogonal(matrix).reshape(kernel.shape)


def orthogonal(matrix: Tensor) -> Tensor:
    if len(matrix) > matrix.shape[1]:
        return orthogonal(matrix.T).T
    a, b, c = COEFFICIENTS
    matrix = matrix / (matrix.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = matrix @ matrix.T
        matrix = a * matrix + (b * square + c * square @ square) @ matrix
    return matrix


def trained(net: Twin, images: Tensor, labels: Tensor, epochs: int) -> Iterator[float]:
    """Trains for an epoch at a time; yields the accuracy on the images it learned from."""
    steps = len(images) // BATCH
    whitening_bias = {"params": [net.whitening.bias], "lr": BIAS_RATE}
    biases = [layer.bias for layer in net.groups if isinstance(layer, nn.BatchNorm2d)]
    groups = [whitening_bias, {"params": biases, "lr": BIAS_RATE}]
    groups.append({"params": [net.head.weight], "lr": HEAD_RATE})
    for group in groups:
        group.update(first=group["lr"], weight_decay=DECAY / group["lr"])
    sgd = torch.optim.SGD(groups, momentum=SGD_MOMENTUM, nesterov=True)
    muon = Muon([layer.weight for layer in net.groups if isinstance(layer, nn.Conv2d)])
    flipped = torch.rand(len(images)) < 0.5
    for epoch in range(epochs):
        net.train()
        cropped = crops(images)
        mirror = flipped ^ bool(epoch % 2)
        cropped[mirror] = cropped[mirror].flip(-1)
        right = 0
        for index, batch in enumerate(torch.randperm(len(images))[: steps * BATCH].split(BATCH)):
            step = epoch * steps + index
            logits = net(channels_last(cropped[batch]))
            loss = functional.cross_entropy(
                logits, labels[batch], reduction="sum", label_smoothing=SMOOTHING
            )
            net.zero_grad()
            loss.backward()
            right += int((logits.argmax(1) == labels[batch]).sum())
            left = 1 - step / (epochs * steps)
            for group in sgd.param_groups:
                group["lr"] = group["first"] * left
            whitening_left = 1 - step / (min(WHITENING_BIAS_EPOCHS, epochs) * steps)
            sgd.param_groups[0]["lr"] = BIAS_RATE * max(whitening_left, 0)
            sgd.step()
            muon.step(RATE * left)
        yield right / (steps * BATCH)


def crops(images: Tensor) -> Tensor:
    """Shifts images by up to two pixels either way; borders are reflections."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (SHIFT,) * 4, "reflect")
    corners = torch.randint(0, 2 * SHIFT + 1, (2, count))
    cropped = torch.empty_like(images)
    for row in range(2 * SHIFT + 1):
        for column in range(2 * SHIFT + 1):
            here = (corners[0] == row) & (corners[1] == column)
            cropped[here] = padded[here, :, row : row + height, column : column + width]
    return cropped


def channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def logits_of(net: Twin, images: Tensor) -> Tensor:
    net.train(False)
    return torch.cat([net(channels_last(part)) for part in images.split(500)])


def six_views(net: Twin, images: Tensor) -> Tensor:
    """Averages the image and two diagonal shifts of it, as they are and flipped."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (1,) * 4, "reflect")
    averaged = torch.zeros(())
    for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
        view = padded[:, :, corner : corner + height, corner : corner + width]
        averaged = averaged + weight * (logits_of(net, view) + logits_of(net, view.flip(-1)))
    return averaged


def tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    standardised = (images.astype("float32") / 255 - np.float32(MEAN)) / np.float32(DEVIATION)
    return torch.tensor(standardised).permute(0, 3, 1, 2), torch.tensor(labels).reshape(-1).long()


def share(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())
