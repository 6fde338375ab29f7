"""B-cos networks for ImageNet: ResNets, DenseNets and SimpleViTs of B-cos v2.

Boehle, Singh, Fritz and Schiele, "B-cos Alignment for Inherently Interpretable CNNs and Vision
Transformers", PAMI 2024; sizes, normalisations and constants are those of its code
(https://github.com/B-cos/B-cos-v2). Layers have the names of that code's modules, with `_` for `.`.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from coda_keras.layers.attention import DynamicSelfAttention
from coda_keras.layers.bcos import BcosDense
from coda_keras.layers.bcos_conv import BcosConv2D
from coda_keras.layers.composition import Chain, Parallel, Residual
from coda_keras.layers.normalization import DynamicBatchNormalization, DynamicLayerNormalization
from coda_keras.layers.pooling import AveragePooling2D, GlobalAveragePooling2D
from coda_keras.layers.tokens import Patches2D, SinCosPositions2D
from coda_keras.models.coda_net import CoDANet
from coda_keras.utils.arguments import one_of, positive_int


class _Parts:
    """Makes layers of a dtype by their names."""

    def __init__(self, dtype: Any) -> None:
        self.chain = partial(Chain, dtype=dtype)
        self.residual = partial(Residual, dtype=dtype)
        self.parallel = partial(Parallel, dtype=dtype)
        self.attention = partial(DynamicSelfAttention, dtype=dtype)
        self.pool = partial(AveragePooling2D, dtype=dtype)
        self.mean = partial(GlobalAveragePooling2D, dtype=dtype)
        self.patches = partial(Patches2D, dtype=dtype)
        self.positions = partial(SinCosPositions2D, dtype=dtype)
        self._dtype = dtype

    def conv(self, name: str, filters: int, size: int, strides: int = 1) -> BcosConv2D:
        return BcosConv2D(filters, size, strides, name=name, dtype=self._dtype)

    def dense(self, name: str, units: int) -> BcosDense:
        return BcosDense(units, name=name, dtype=self._dtype)

    def batch_norm(self, name: str) -> DynamicBatchNormalization:
        return DynamicBatchNormalization(name=name, dtype=self._dtype)

    def layer_norm(self, name: str) -> DynamicLayerNormalization:
        return DynamicLayerNormalization(name=name, dtype=self._dtype)


def resnet(
    parts: _Parts, classes: int, blocks: Sequence[int], bottleneck: bool = True
) -> Iterator[Any]:
    """Layers of a ResNet with so many blocks in its four stages."""
    yield from (parts.conv("conv1", 64, 7, 2), parts.batch_norm("bn1"))
    yield parts.pool(3, 2, name="pool")
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        filters = width * (4 if bottleneck else 1)
        layers = []
        for index in range(count):
            # Filters, kernel size and strides.
            strides = 2 if stage and not index else 1
            sizes = [(width, 3, strides), (width, 3, 1)]
            if bottleneck:
                sizes = [(width, 1, 1), (width, 3, strides), (filters, 1, 1)]
            name = f"layer{stage + 1}_{index}"
            layers.append(_block(parts, name, sizes, strides > 1 or channels != filters))
            channels = filters
        yield parts.chain(layers, name=f"layer{stage + 1}")
    yield parts.conv("fc", classes, 1)
    yield parts.mean(name="avgpool")


def _block(
    parts: _Parts, name: str, sizes: Sequence[tuple[int, int, int]], projected: bool
) -> Residual:
    """A residual block of convolutions; its shortcut is one too, or the identity."""
    layers: list[Any] = []
    for number, shape in enumerate(sizes, start=1):
        layers += [
            parts.conv(f"{name}_conv{number}", *shape),
            parts.batch_norm(f"{name}_bn{number}"),
        ]
    strides = max(step for _, _, step in sizes)
    shortcut = [
        parts.conv(f"{name}_downsample_0", sizes[-1][0], 1, strides),
        parts.batch_norm(f"{name}_downsample_1"),
    ]
    return parts.residual(layers, shortcut if projected else None, name=name)


def densenet(
    parts: _Parts, classes: int, blocks: Sequence[int], growth: int = 32, channels: int = 64
) -> Iterator[Any]:
    """Layers of a DenseNet with so many layers in its four blocks."""
    yield parts.conv("features_conv0", channels, 7, 2)
    yield parts.batch_norm("features_norm0")
    yield parts.pool(3, 2, name="features_pool0")
    for block, count in enumerate(blocks, start=1):
        added = []
        for number in range(1, count + 1):
            name = f"features_denseblock{block}_denselayer{number}"
            layers = [
                parts.batch_norm(f"{name}_norm1"),
                parts.conv(f"{name}_conv1", 4 * growth, 1),
                parts.batch_norm(f"{name}_norm2"),
                parts.conv(f"{name}_conv2", growth, 3),
            ]
            added.append(parts.parallel([[], layers], name=name))
        yield parts.chain(added, name=f"features_denseblock{block}")
        channels += count * growth
        if block < len(blocks):
            channels //= 2
            name = f"features_transition{block}"
            layers = [
                parts.batch_norm(f"{name}_norm"),
                parts.conv(f"{name}_conv", channels, 1),
                parts.pool(2, name=f"{name}_pool"),
            ]
            yield parts.chain(layers, name=name)
    yield parts.batch_norm("features_norm5")
    yield parts.conv("classifier", classes, 1)
    yield parts.mean(name="avgpool")


def simple_vit(
    parts: _Parts, classes: int, depth: int, width: int, heads: int, patch_size: int = 16
) -> Iterator[Any]:
    """Layers of a SimpleViT; the tokens stay on their grid."""
    yield parts.patches(patch_size, name="to_patch_embedding_patches")
    yield parts.dense("to_patch_embedding_linear", width)
    yield parts.positions(name="positional_embedding")
    for number in range(depth):
        name = f"transformer_encoder_{number}"
        attention = [
            parts.layer_norm(f"{name}_attn_norm"),
            parts.attention(heads, width // heads, name=f"{name}_attn_to_qkv"),
            parts.dense(f"{name}_attn_to_out", width),
        ]
        units = [
            parts.layer_norm(f"{name}_ff_net_norm"),
            parts.dense(f"{name}_ff_net_linear1", 4 * width),
            parts.dense(f"{name}_ff_net_linear2", width),
        ]
        yield parts.chain([parts.residual(attention), parts.residual(units)], name=name)
    yield parts.mean(name="mean")
    yield parts.layer_norm("linear_head_norm")
    yield parts.dense("linear_head_linear", classes)


ARCHITECTURES = {
    "resnet_18": partial(resnet, blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet_34": partial(resnet, blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet_50": partial(resnet, blocks=(3, 4, 6, 3)),
    "resnet_101": partial(resnet, blocks=(3, 4, 23, 3)),
    "resnet_152": partial(resnet, blocks=(3, 8, 36, 3)),
    "densenet_121": partial(densenet, blocks=(6, 12, 24, 16)),
    "densenet_161": partial(densenet, blocks=(6, 12, 36, 24), growth=48, channels=96),
    "densenet_169": partial(densenet, blocks=(6, 12, 32, 32)),
    "densenet_201": partial(densenet, blocks=(6, 12, 48, 32)),
    "simple_vit_ti_patch16_224": partial(simple_vit, depth=12, width=192, heads=3),
    "simple_vit_s_patch16_224": partial(simple_vit, depth=12, width=384, heads=6),
    "simple_vit_b_patch16_224": partial(simple_vit, depth=12, width=768, heads=12),
    "simple_vit_l_patch16_224": partial(simple_vit, depth=14, width=1024, heads=16),
}


def bcos_net(
    architecture: str,
    classes: int = 1000,
    image_size: int | tuple[int, int] | None = 224,
    **kwargs: Any,
) -> CoDANet:
    """Builds a B-cos network with initial weights.

    Images are RGB in [0, 1], which the net encodes in six channels; there is no other
    normalisation. The logits are means over positions plus `b_0 = -log(classes - 1)`.

    Args:
        architecture: a name in `ARCHITECTURES`, such as `"resnet_50"`.
        classes: int, number of classes, at least 2.
        image_size: int, `(height, width)` or None, as for `CoDANet`. A SimpleViT takes multiples
            of its patches of 16x16 pixels.
        **kwargs: `class_names` of `CoDANet`; `name`, `dtype`, ... of `keras.Model`.

    Returns:
        A `CoDANet`.

    Raises:
        ValueError: if there is no such architecture, or an argument is out of range.

    Example:

    >>> net = bcos_net("resnet_18", classes=5, image_size=64)
    >>> len(net.body), ops.shape(net(np.zeros((1, 64, 64, 3), "float32")))
    (9, (1, 5))
    """
    one_of("architecture", architecture, sorted(ARCHITECTURES))
    if positive_int("classes", classes) < 2:
        raise ValueError(f"`classes` must be at least 2. Received: classes={classes!r}.")
    layers = ARCHITECTURES[architecture](_Parts(kwargs.get("dtype")), classes)
    return CoDANet(
        layers,
        temperature=1.0,
        logit_bias=-math.log(classes - 1),
        image_size=image_size,
        **{"name": architecture, **kwargs},
    )
