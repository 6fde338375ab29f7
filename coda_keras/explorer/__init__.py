"""The explorer: look into predictions with the mouse, in one HTML file, a notebook, TensorBoard.

Nothing here knows models: it shows arrays, and asks a function for the prediction of images from
which pixels were taken away. `Explanation.show` and `coda_keras.explanation.display` make the
arrays of explanations.
"""

from coda_keras.explorer.html import page as page
from coda_keras.explorer.html import write_html as write_html
from coda_keras.explorer.notebook import HEIGHT as HEIGHT
from coda_keras.explorer.notebook import show as show
from coda_keras.explorer.removal import Removal as Removal
from coda_keras.explorer.removal import as_floats as as_floats
from coda_keras.explorer.removal import without_pixels as without_pixels
from coda_keras.explorer.server import local_server as local_server
from coda_keras.explorer.storage import fitted as fitted
from coda_keras.explorer.view import View as View
