"""A net whose contribution maps another net learns: distillation from explanations."""

from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers import rescale
from coda_keras.layers.dynamic_linear import Pullback
from coda_keras.layers.encoding import encode
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.models.loss_term import LossTerm, mean_absolute


class MapTeacher(LossTerm):
    """`λ mean (1 - cos(M, M'))`: contribution maps M are to be like the maps M' of a teacher.

    Both explain the class that the teacher predicts, as in Parchami-Araghi et al. (ECCV 2024). The
    cosine does not depend on the scale of the maps, so that both nets may have temperatures of
    their own. The teacher's map costs a forward pass and a pullback of it in every step, that of
    the net a pullback: forward operations, whose gradients need no second derivative of autodiff.

    A net whose attribute `map_teacher` it is trains so. It is not saved with the net.

    >>> net = CoDANet([DAUConv2D(10, 8, 3)], image_size=32)
    >>> net.map_teacher = MapTeacher(CoDANet.from_preset("s_coda_cifar10"), strength=0.2)

    Args:
        teacher: a built net with as many classes, such as a `CoDANet`. It does not change.
        strength: positive number λ.

    Raises:
        ValueError: if `strength` is not positive, or the teacher explains nothing or has no weights
            yet.
    """

    argument, needed = "map_teacher", "contribution maps"

    def __init__(self, teacher: DynamicLinearNet, strength: float = 1.0) -> None:
        super().__init__(strength)
        if not isinstance(teacher, DynamicLinearNet):
            raise ValueError(
                "`map_teacher` must be a net with contribution maps, such as a `CoDANet`. "
                f"Received: {teacher!r}."
            )
        teacher.require_built("its maps")
        # A net in an attribute would be a part of the one that learns.
        self._linearize = teacher.linearize

    def keep_cosines(self, images: Tensor, outputs: Tensor, pullback: Pullback) -> None:
        """Compares the maps of a forward pass with the teacher's, for the loss of that pass.

        Args:
            images: `(B, H, W, C)`, the batch.
            outputs, pullback: what the net's `linearize` returned for them.

        Raises:
            ValueError: if the teacher has another number of classes.
        """
        expected, pullback_of_teacher = self._linearize(images)
        if expected.shape[-1] != outputs.shape[-1]:
            raise ValueError(
                f"`map_teacher` must have the classes of the net. Received: {expected.shape[-1]} "
                f"classes, and a net of {outputs.shape[-1]}."
            )
        classes, encoded = ops.argmax(expected, axis=-1), encode(images)
        theirs, own = (
            ops.cast(_maps(one, classes, encoded, logits), outputs.dtype)
            for one, logits in ((pullback_of_teacher, expected), (pullback, outputs))
        )
        self.keep(cosines(own, ops.stop_gradient(theirs)))

    def loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Returns the loss of the forward pass whose maps were compared, a scalar.

        Args:
            labels, logits: of the batch; the maps do not depend on them.

        Raises:
            ValueError: if no maps were compared.
        """
        return self.strength * mean_absolute(1 - self.taken())


def _maps(pullback, classes, encoded, logits):
    weights = pullback(ops.one_hot(classes, logits.shape[-1], dtype=logits.dtype))
    return ops.sum(ops.cast(weights, logits.dtype) * ops.cast(encoded, logits.dtype), axis=-1)


def cosines(maps: Tensor, others: Tensor) -> Tensor:
    """Cosines between maps `(B, H, W)`, `(B, 1)`; 0 where one of them vanishes."""
    dot, norm, other = (
        ops.sum(a * b, axis=(1, 2))[:, None]
        for a, b in ((maps, others), (maps, maps), (others, others))
    )
    return dot * rescale.l2(norm) * rescale.l2(other)
