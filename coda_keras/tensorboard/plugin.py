"""The tab "Explanations" of TensorBoard: the explorer over what was written to event files.

TensorBoard finds it by the entry point `tensorboard_plugins`. All is read through its data
provider, so log folders may be remote. Routes, below `data/plugin/explanations/`:

    index.js, style.css     the viewer
    entries                 JSON: series with their steps, and runs that have none
    view                    JSON: the manifest of ?run, tag, step
    blob                    bytes: packed arrays number ?index of ?run, tag, step
    predict                 JSON: logits without some pixels, where --explanations_model names one

Nothing is served by a name of a file.
"""

import argparse
import json
import threading
from collections.abc import Callable
from typing import Any

from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from werkzeug import Response, wrappers

from coda_keras.explorer.html import script, style
from coda_keras.explorer.packing import unpack
from coda_keras.explorer.removal import as_floats, both_logits, removed_mask, without_pixels
from coda_keras.explorer.server import MAX_REQUEST, whole_number

NAME = "explanations"
STEPS = 1000
# What runs have in their event files since before there were tensors.
PICTURES = "contribution_maps"


class ExplanationsLoader(base_plugin.TBLoader):
    """Adds the flag of the model, and makes the plugin."""

    def define_flags(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("explanations plugin")
        group.add_argument(
            "--explanations_model",
            metavar="PATH",
            default="",
            help="a .keras file that is asked for new predictions when pixels are taken away",
        )

    def load(self, context: base_plugin.TBContext) -> "ExplanationsPlugin":
        return ExplanationsPlugin(context)


class ExplanationsPlugin(base_plugin.TBPlugin):
    """Serves the viewer and the stored explanations."""

    plugin_name = NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._provider = context.data_provider
        self._model_path = getattr(context.flags, "explanations_model", "")
        self._predict = None
        self._lock = threading.Lock()

    def get_plugin_apps(self) -> dict[str, Callable]:
        return {
            "/index.js": self._asset(lambda: script("tensorboard"), "application/javascript"),
            "/style.css": self._asset(style, "text/css"),
            "/entries": _route(self._entries),
            "/view": _route(self._view),
            "/blob": _route(self._blob),
            "/predict": _route(self._new_prediction),
        }

    def is_active(self) -> bool:
        # TensorBoard asks the data provider itself for runs that have explanations.
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Explanations")

    def _asset(self, text, content_type):
        return _route(lambda request: http_util.Respond(request, text(), content_type))

    def _entries(self, request):
        """Series of all runs with their steps, and the runs that only have pictures."""
        experiment = plugin_util.experiment_id(request.environ)
        context = plugin_util.context(request.environ)
        stored = self._provider.read_blob_sequences(
            context, experiment_id=experiment, plugin_name=NAME, downsample=STEPS
        )
        entries = [
            {"run": run, "tag": tag, "steps": sorted({datum.step for datum in series})}
            for run, tags in sorted(stored.items())
            for tag, series in sorted(tags.items())
            # TensorBoard's own loader leaves out what is no explanation.
            if series
        ]
        pictures = self._provider.list_blob_sequences(
            context, experiment_id=experiment, plugin_name="images"
        )
        old = sorted(
            run
            for run, tags in pictures.items()
            if run not in stored and any(tag.startswith(PICTURES) for tag in tags)
        )
        return _json(request, {"entries": entries, "old": old, "model": bool(self._model_path)})

    def _view(self, request):
        return http_util.Respond(request, self._read(request, request.args, 0), "application/json")

    def _blob(self, request):
        index = 1 + _whole(request.args.get("index"), "index")
        data = self._read(request, request.args, index)
        return http_util.Respond(request, data, "application/octet-stream")

    def _read(self, request, place, index):
        """Bytes string number `index` of the step that `place` names."""
        run, tag = place.get("run", ""), place.get("tag", "")
        step = _whole(place.get("step"), "step")
        stored = self._provider.read_blob_sequences(
            plugin_util.context(request.environ),
            experiment_id=plugin_util.experiment_id(request.environ),
            plugin_name=NAME,
            downsample=STEPS,
            run_tag_filter=provider.RunTagFilter(runs=[run], tags=[tag]),
        )
        series = stored.get(run, {}).get(tag, [])
        datum = next((datum for datum in reversed(series) if datum.step == step), None)
        if datum is None or index >= len(datum.values):
            raise errors.NotFoundError("There is no such explanation (any more); reload the tab.")
        try:
            blob = self._provider.read_blob(
                plugin_util.context(request.environ), blob_key=datum.values[index].blob_key
            )
        except (IndexError, TypeError, ValueError) as error:
            # A tensor that no array can be made of, or a single number.
            raise _no_explanation(run, tag, step) from error
        if not isinstance(blob, bytes):
            raise _no_explanation(run, tag, step)
        return blob

    def _new_prediction(self, request):
        """What the model says of a stored image, all of it and without some pixels."""
        if request.method != "POST" or request.mimetype != "application/json":
            raise errors.InvalidArgumentError("Expected JSON by POST.")
        if (request.content_length or 0) > MAX_REQUEST:
            raise errors.InvalidArgumentError("The request is too large.")
        asked = json.loads(request.get_data())
        manifest = json.loads(self._read(request, asked, 0))
        entry = manifest["images"][_whole(asked.get("image"), "image")]
        blob = self._read(request, asked, 1 + _whole(entry["picture"], "picture"))
        image = as_floats(unpack(blob)["picture"])
        removed = removed_mask(asked.get("removed"), image.shape[:2])
        return _json(request, both_logits(self._model(), image, removed))

    def _model(self):
        if not self._model_path:
            raise errors.NotFoundError("Start TensorBoard with --explanations_model=PATH.")
        with self._lock:
            if self._predict is None:
                # Keras is imported where a model is asked, not by the tab.
                from coda_keras.models.loading import load_model

                self._predict = without_pixels(load_model(self._model_path))
        return self._predict


def _route(handler: Callable[[wrappers.Request], Response]) -> Callable:
    """Whatever goes wrong becomes a sentence that the tab shows."""

    @wrappers.Request.application
    def serve(request):
        try:
            return handler(request)
        except errors.PublicError as error:
            code, message = error.http_code, str(error)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
            code, message = 400, f"What is stored cannot be read: {error}"
        return http_util.Respond(
            request, json.dumps({"error": message}), "application/json", code=code
        )

    return serve


def _no_explanation(run: str, tag: str, step: int) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"What {run} has as {tag} at step {step} is no explanation, or damaged."
    )


def _json(request: wrappers.Request, value: Any) -> Response:
    return http_util.Respond(request, json.dumps(value), "application/json")


def _whole(value, name):
    """A whole number, not negative, of a query or of JSON."""
    number = whole_number(value)
    if number is None:
        raise errors.InvalidArgumentError(f"Expected a whole number as {name}.")
    return number
