"""The explorer: look into predictions with the mouse, in one HTML file, a notebook, TensorBoard.

Nothing here knows models: it shows arrays, and asks a function for the prediction of images from
which pixels were taken away. `Explanation.show` and `coda_keras.explanation.display` make the
arrays of explanations.

The names are in `__init__.pyi`; what they stand for is imported when it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
