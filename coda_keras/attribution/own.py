"""Which method shows what a model itself looks at."""

import keras

from coda_keras.explanation.explanation import is_inherent
from coda_keras.figures import CONTRIBUTION, INPUT_X_GRADIENT


def own_method(model: keras.Model) -> tuple[str, str]:
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
