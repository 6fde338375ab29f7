"""The model's own contributions, and what stands for them where there are none."""

from typing import Any

import numpy as np

from coda_keras.attribution.base import Attribution
from coda_keras.backend.types import Tensor
from coda_keras.explanation.explanation import is_inherent
from coda_keras.figures.quantities import CONTRIBUTION, INPUT_X_GRADIENT


class Contributions(Attribution):
    """Contribution maps of a dynamic linear network: `s_c(x) = [W_{0->L}(x)]_c * x` (eq. 8).

    Summed over the six channels. Together with the bias b_0 a map sums to the logit. The forward
    pass is shared between the classes of an image.

    Args:
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: on a call with a model that does not explain itself.
    """

    def prepare(self, model: Any, images: np.ndarray) -> None:
        if not is_inherent(model):
            raise ValueError(
                f"{type(model).__name__} has no contributions of its own: it has no `explain`. "
                'Expected a CoDANet; for other models "input_x_gradient" is the counterpart.'
            )

    def on_device(self, model: Any, images: Tensor, class_ids: Tensor) -> Tensor:
        return model.explain(images, class_ids).contribution_map

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        maps = []
        with self.bar(len(images)) as bar:
            for start in range(0, len(images), self.batch_size):
                stop = start + self.batch_size
                maps.append(self.run_on_device(images[start:stop], class_ids[start:stop]))
                bar.update(len(maps[-1]))
        return np.concatenate(maps)


def own_method(model: Any) -> tuple[str, str]:
    """The method of a model's own maps, and what a colour bar says they show.

    Args:
        model: a model with `explain`, such as a `CoDANet`, or any classifier, whose counterpart to
            contributions is Input×Gradient.

    Returns:
        `(name, quantity)`: a name for `attribution.get`, and the quantity with its unit.
    """
    if is_inherent(model):
        return "contributions", CONTRIBUTION
    return "input_x_gradient", INPUT_X_GRADIENT
