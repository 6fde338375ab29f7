"""Metrics of attribution maps for any model and any attribution method, one a file.

`METRICS` names them all; `get(name)` makes one, which measures, says its result in a line, and
knows its columns and charts (see `Metric`). Those of the paper are functions as well.
"""

from coda_keras.evaluation.confidence import log_odds as log_odds
from coda_keras.evaluation.confidence import most_confident as most_confident
from coda_keras.evaluation.confidence import note_of_missing as note_of_missing
from coda_keras.evaluation.confidence import probabilities as probabilities
from coda_keras.evaluation.grid_localisation import Localisation as Localisation
from coda_keras.evaluation.grid_localisation import localisation as localisation
from coda_keras.evaluation.grids import Grids as Grids
from coda_keras.evaluation.grids import make_grids as make_grids
from coda_keras.evaluation.metric import Metric as Metric
from coda_keras.evaluation.published import published_cifar10 as published_cifar10
from coda_keras.evaluation.registry import METRICS as METRICS
from coda_keras.evaluation.registry import STUDIED as STUDIED
from coda_keras.evaluation.registry import get as get
from coda_keras.evaluation.removal import PixelRemoval as PixelRemoval
from coda_keras.evaluation.removal import pixel_removal as pixel_removal
from coda_keras.evaluation.sanity import SanityCheck as SanityCheck
from coda_keras.evaluation.sanity import cascading_randomisation as cascading_randomisation
