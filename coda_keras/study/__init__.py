"""Studies: models by methods by metrics, with results, tables and figures.

    from coda_keras.study import Settings, Study

    study = Study(["runs/cifar10/model.keras"], data, Settings(images=200))
    study.run()                     # resumable; partial results lie in study.folder
    print(study.table())
    study.figure("6")

See docs/interpretation.md. The names are in `__init__.pyi`; what they stand for is imported when it
is used, so that the names of figures need no framework.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
