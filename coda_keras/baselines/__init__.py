"""Ordinary classifiers to compare with."""

from coda_keras.baselines.resnet import resnet50 as resnet50
from coda_keras.baselines.resnet import resnet56 as resnet56
from coda_keras.baselines.resnet import with_image_size as with_image_size
