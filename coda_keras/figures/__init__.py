"""Everything that draws, from plain arrays: contributions, weights, tables, metrics, animations.

Images are uint8, shown as they are, or floats in [0, 1], everywhere.

Nothing here knows models or methods. Only matplotlib's `Figure` is used, no global pyplot state,
so that it is safe in threads, servers and training callbacks. Notebooks show a figure that ends a
cell. `save_figure` writes figures as PNG, PDF or SVG, `figure_rgb` renders them as arrays.

The names are in `__init__.pyi`; matplotlib is imported when one that draws is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
