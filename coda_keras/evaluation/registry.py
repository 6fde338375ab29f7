"""Every metric by its name, in the order of the tables' columns."""

from typing import Any

from coda_keras.evaluation.completeness import Completeness
from coda_keras.evaluation.complexity import Complexity
from coda_keras.evaluation.deletion import Deletion
from coda_keras.evaluation.grid_localisation import GridLocalisation
from coda_keras.evaluation.infidelity import Infidelity
from coda_keras.evaluation.insertion import Insertion
from coda_keras.evaluation.max_sensitivity import MaxSensitivity
from coda_keras.evaluation.metric import Metric
from coda_keras.evaluation.random_logit import RandomLogit
from coda_keras.evaluation.removal import PixelRemovalCurves
from coda_keras.evaluation.road import ROAD
from coda_keras.evaluation.sanity import CascadingRandomisation
from coda_keras.evaluation.sparseness import Sparseness
from coda_keras.utils import arguments

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        GridLocalisation,
        PixelRemovalCurves,
        Deletion,
        Insertion,
        ROAD,
        Infidelity,
        MaxSensitivity,
        Sparseness,
        Complexity,
        CascadingRandomisation,
        RandomLogit,
        Completeness,
    )
}

# Those of the paper, and the sanity check: what a study measures unless it is told otherwise.
STUDIED = ("localisation", "pixel_removal", "sanity")


def get(name: str, **kwargs: Any) -> Metric:
    """Makes a metric by its name.

    Args:
        name: a key of `METRICS`.
        **kwargs: arguments of the metric.

    Raises:
        ValueError: if there is no such metric, or it has no such argument.

    Example:

    >>> get("pixel_removal", points=16).arguments["fraction"]
    0.25
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric: {name!r}. Expected one of {', '.join(METRICS)}.")
    arguments.check(name, METRICS[name], kwargs)
    return METRICS[name](**kwargs)
