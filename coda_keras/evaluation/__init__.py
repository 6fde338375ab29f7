"""Metrics of attribution maps for any model and any attribution method, one a file.

`METRICS` names them all; `get(name)` makes one, which measures, says its result in a line, and
knows its columns and charts (see `Metric`). Those of the paper are functions as well.

The names are in `__init__.pyi`; what they stand for is imported when it is used, so that the
registry alone needs no framework.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
