"""Data sets: images and labels as arrays or files, batches of them, and example images."""

from coda_keras.data import examples as examples
