"""Everything that draws, from plain arrays: contributions, weights, tables, metrics, animations.

Images are uint8, shown as they are, or floats in [0, 1], everywhere.

Nothing here knows models or methods. Only matplotlib's `Figure` is used, no global pyplot state,
so that it is safe in threads, servers and training callbacks. Notebooks show a figure that ends a
cell. `save_figure` writes figures as PNG,
PDF or SVG, `figure_rgb` renders them as arrays.
"""

from coda_keras.figures.animation import animation_frames as animation_frames
from coda_keras.figures.animation import save_gif as save_gif
from coda_keras.figures.colours import PERCENTILE as PERCENTILE
from coda_keras.figures.colours import contribution_rgb as contribution_rgb
from coda_keras.figures.colours import shared_scale as shared_scale
from coda_keras.figures.confusion import confusion_matrix as confusion_matrix
from coda_keras.figures.contributions import CONTRIBUTION as CONTRIBUTION
from coda_keras.figures.contributions import INPUT_X_GRADIENT as INPUT_X_GRADIENT
from coda_keras.figures.contributions import gallery as gallery
from coda_keras.figures.contributions import plot_contributions as plot_contributions
from coda_keras.figures.maps import Column as Column
from coda_keras.figures.maps import map_table as map_table
from coda_keras.figures.metrics import Entry as Entry
from coda_keras.figures.metrics import Panel as Panel
from coda_keras.figures.metrics import Row as Row
from coda_keras.figures.metrics import metrics_figure as metrics_figure
from coda_keras.figures.multi_images import multi_image as multi_image
from coda_keras.figures.rendering import figure_png as figure_png
from coda_keras.figures.rendering import figure_rgb as figure_rgb
from coda_keras.figures.rendering import save_figure as save_figure
from coda_keras.figures.sweeps import Curve as Curve
from coda_keras.figures.sweeps import sweep_figure as sweep_figure
from coda_keras.figures.weights import weights_rgb as weights_rgb
from coda_keras.figures.weights import weights_rgba as weights_rgba
