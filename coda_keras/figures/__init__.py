"""Figures of the paper, drawn from plain arrays: maps, metrics, multi-images, animations.

Nothing here knows models or methods. Figures are matplotlib's; `coda_keras.plotting.save_figure`
writes them as PNG and PDF, `figure_rgb` renders them for TensorBoard.
"""

from coda_keras.figures.animation import animation_frames as animation_frames
from coda_keras.figures.animation import save_gif as save_gif
from coda_keras.figures.maps import Column as Column
from coda_keras.figures.maps import map_table as map_table
from coda_keras.figures.metrics import Entry as Entry
from coda_keras.figures.metrics import Row as Row
from coda_keras.figures.metrics import metrics_figure as metrics_figure
from coda_keras.figures.metrics import similarity_figure as similarity_figure
from coda_keras.figures.metrics import windows_figure as windows_figure
from coda_keras.figures.multi_image import multi_image as multi_image
from coda_keras.figures.style import colour as colour
