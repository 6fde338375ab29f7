"""What training recipes share: flags, the folder of a run, training with resume, the report.

A recipe is a function of four steps under `command`:

    args = parser(__doc__, **VALUES).parse_args()
    strategy = start(args)
    net, history = train(args, strategy, build, data, augment)
    conclude(args, net, data, history, package)

The folder of a run holds arguments.json, the last two checkpoint-*.npz from which it goes on, and
after every epoch history.json;
in the end model.keras, gallery.png, explorer.html, examples/ and, last of all, metrics.json.
TensorBoard's event files lie beside them.
"""

from coda_keras.training.checkpoints import Progress as Progress
from coda_keras.training.checkpoints import restore as restore
from coda_keras.training.checkpoints import save as save
from coda_keras.training.checkpoints import save_model as save_model
from coda_keras.training.flags import parser as parser
from coda_keras.training.flags import positive_int as positive_int
from coda_keras.training.objective import learning_rate as learning_rate
from coda_keras.training.pipeline import cutout as cutout
from coda_keras.training.pipeline import flip_and_crop as flip_and_crop
from coda_keras.training.pipeline import load as load
from coda_keras.training.pipeline import rand_augment as rand_augment
from coda_keras.training.pipeline import start as start
from coda_keras.training.pipeline import train as train
from coda_keras.training.report import conclude as conclude
from coda_keras.training.report import draw_gallery as draw_gallery
from coda_keras.training.report import score as score
from coda_keras.training.watch import Stopped as Stopped
from coda_keras.training.watch import Watch as Watch
from coda_keras.utils.command_line import Parser as Parser
from coda_keras.utils.command_line import command as command
from coda_keras.utils.command_line import nearest as nearest
