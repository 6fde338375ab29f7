"""Studies: models by methods by metrics, with results, tables and figures.

    from coda_keras.interpretation import Settings, Study

    study = Study(["runs/cifar10/model.keras"], data, Settings(images=200))
    study.run()                     # resumable; partial results lie in study.folder
    print(study.table())
    study.figure("6")

See docs/interpretation.md.
"""

from coda_keras.interpretation.drawing import DRAWN as DRAWN
from coda_keras.interpretation.drawing import VIDEO as VIDEO
from coda_keras.interpretation.drawing import draw as draw
from coda_keras.interpretation.missing import Missing as Missing
from coda_keras.interpretation.pictures import explained_video as explained_video
from coda_keras.interpretation.settings import Settings as Settings
from coda_keras.interpretation.study import FIGURES as FIGURES
from coda_keras.interpretation.study import Study as Study
from coda_keras.interpretation.subject import Subject as Subject
