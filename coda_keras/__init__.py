"""Convolutional Dynamic Alignment Networks for Keras 3."""

from coda_keras import start

if start.asked():
    start.run()

from coda_keras.backend.value_checks import unchecked as unchecked
from coda_keras.data import examples as examples
from coda_keras.explanation.dataset import explain_dataset as explain_dataset
from coda_keras.explanation.explanation import Explanation as Explanation
from coda_keras.explanation.explanation import explain as explain
from coda_keras.explanation.layer import LayerExplanation as LayerExplanation
from coda_keras.explanation.layer import explain_layer as explain_layer
from coda_keras.layers.dau import DAUConv2D as DAUConv2D
from coda_keras.layers.dynamic_linear import DynamicLinear as DynamicLinear
from coda_keras.layers.dynamic_linear import GlobalPatch2D as GlobalPatch2D
from coda_keras.layers.dynamic_linear import GlobalSumPooling2D as GlobalSumPooling2D
from coda_keras.layers.dynamic_linear import ReceptiveField as ReceptiveField
from coda_keras.layers.dynamic_linear import TemperatureScaling as TemperatureScaling
from coda_keras.layers.dynamic_linear import linearize as linearize
from coda_keras.layers.encoding import encode as encode
from coda_keras.losses import OneVsAllAccuracy as OneVsAllAccuracy
from coda_keras.losses import OneVsAllCrossentropy as OneVsAllCrossentropy
from coda_keras.models.coda_net import CoDANet as CoDANet
from coda_keras.models.presets import PRESETS as PRESETS
from coda_keras.training.confusion import ConfusionAccuracy as ConfusionAccuracy

__version__ = "0.3.0"
