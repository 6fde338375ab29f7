"""Dynamic linear layers: Keras layers with a `linearize` that hands out their own transpose."""

from coda_keras.layers.dau import DAUConv2D as DAUConv2D
from coda_keras.layers.dynamic_linear import DynamicLinear as DynamicLinear
from coda_keras.layers.dynamic_linear import GlobalPatch2D as GlobalPatch2D
from coda_keras.layers.dynamic_linear import GlobalSumPooling2D as GlobalSumPooling2D
from coda_keras.layers.dynamic_linear import Pullback as Pullback
from coda_keras.layers.dynamic_linear import ReceptiveField as ReceptiveField
from coda_keras.layers.dynamic_linear import TemperatureScaling as TemperatureScaling
from coda_keras.layers.dynamic_linear import linearize as linearize
from coda_keras.layers.encoding import encode as encode
