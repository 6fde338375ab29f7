"""Trainings: their settings, a loop that goes on where it was interrupted, their report.

    settings = Settings(epochs=20, batch_size=64, output="runs/mine")
    trained = fit(settings, build, data)

The folder of a run holds arguments.json, the last two checkpoint-*.npz from which it goes on, and
after every epoch history.json;
in the end model.keras, gallery.png, explorer.html, examples/ and, last of all, metrics.json.
TensorBoard's event files lie beside them, if its callbacks are given to `fit`.
"""

import lazy_loader

# Settings and flags need no Keras; whoever asks for them alone does not wait for it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
