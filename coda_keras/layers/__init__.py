"""Dynamic linear layers: Keras layers with a `linearize` that hands out their own transpose."""

from coda_keras.layers.activation import MaxOut as MaxOut
from coda_keras.layers.activation import ReLU as ReLU
from coda_keras.layers.attention import DynamicSelfAttention as DynamicSelfAttention
from coda_keras.layers.bcos import BcosDense as BcosDense
from coda_keras.layers.bcos_conv import BcosConv2D as BcosConv2D
from coda_keras.layers.composition import Chain as Chain
from coda_keras.layers.composition import Parallel as Parallel
from coda_keras.layers.composition import Residual as Residual
from coda_keras.layers.dau import DAUConv2D as DAUConv2D
from coda_keras.layers.dynamic_linear import DynamicLinear as DynamicLinear
from coda_keras.layers.dynamic_linear import GlobalPatch2D as GlobalPatch2D
from coda_keras.layers.dynamic_linear import GlobalSumPooling2D as GlobalSumPooling2D
from coda_keras.layers.dynamic_linear import ReceptiveField as ReceptiveField
from coda_keras.layers.dynamic_linear import TemperatureScaling as TemperatureScaling
from coda_keras.layers.dynamic_linear import linearize as linearize
from coda_keras.layers.encoding import encode as encode
from coda_keras.layers.normalization import DynamicBatchNormalization as DynamicBatchNormalization
from coda_keras.layers.normalization import DynamicLayerNormalization as DynamicLayerNormalization
from coda_keras.layers.offset import Pullback as Pullback
from coda_keras.layers.offset import with_offset as with_offset
from coda_keras.layers.pooling import AveragePooling2D as AveragePooling2D
from coda_keras.layers.pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from coda_keras.layers.pooling import MaxPooling2D as MaxPooling2D
from coda_keras.layers.tokens import Patches2D as Patches2D
from coda_keras.layers.tokens import SinCosPositions2D as SinCosPositions2D
