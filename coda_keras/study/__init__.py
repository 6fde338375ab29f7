"""Studies: models by methods by metrics, with results, tables and figures.

    from coda_keras.study import Settings, Study

    study = Study(["runs/cifar10/model.keras"], data, Settings(images=200))
    study.run()                     # resumable; partial results lie in study.folder
    print(study.table())
    study.figure("6")

See docs/interpretation.md.
"""

from coda_keras.study.drawing import DRAWN as DRAWN
from coda_keras.study.drawing import VIDEO as VIDEO
from coda_keras.study.drawing import draw as draw
from coda_keras.study.missing import Missing as Missing
from coda_keras.study.pictures import explained_video as explained_video
from coda_keras.study.settings import Settings as Settings
from coda_keras.study.study import FIGURES as FIGURES
from coda_keras.study.study import Study as Study
from coda_keras.study.subject import Subject as Subject
