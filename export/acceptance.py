"""Checks of a server from outside: that it answers, and refuses, as a servable of ours should.

Every answer is held against other answers and against what outputs mean, so that nothing but the
server is needed.
"""

import io
import urllib.request
from collections.abc import Callable, Iterator
from concurrent import futures

import numpy as np
from coda_keras_export import cli
from coda_keras_export.connection import Client
from PIL import Image

# Of the largest magnitude; servers may run other kernels for other batches.
TOLERANCE = 1e-4
SIZES = (1, 2, 3, 5, 8)


class Acceptance:
    """The checks of one model.

    Args:
        client: a connection to it.
        of_version: function of a version that returns a connection to that.
        metrics: URL of the server's metrics; None to leave them out.
    """

    def __init__(
        self, client: Client, of_version: Callable[[int], Client], metrics: str | None = None
    ):
        self.client, self.of_version, self.metrics = client, of_version, metrics
        self.signatures = client.signatures()
        shape = self.signatures["serving_default"].inputs["images"].tensor_shape
        self.height, self.width = (dim.size for dim in shape.dim[1:3])
        random = np.random.default_rng(0)
        self.pictures = random.integers(0, 256, (max(SIZES), self.height, self.width, 3), "uint8")
        self.images = self.pictures.astype("float32") / 255

    def run(self) -> Iterator[tuple[str, str | None]]:
        """Yields, for every check, what it is about, and what is wrong or None."""
        for check in (
            self.the_account_of_a_logit_adds_up,
            self.signatures_agree,
            self.single_outputs_can_be_asked_for,
            self.batches_answer_as_their_images_do,
            self.requests_at_once_get_their_own_answers,
            self.bad_requests_are_refused,
            self.versions_answer_by_number,
            self.metrics_count_requests,
        ):
            try:
                problem = check()
            except (OSError, KeyError, ValueError) as error:
                problem = str(error) or type(error).__name__
            yield check.__name__.replace("_", " "), problem

    def the_account_of_a_logit_adds_up(self):
        ids = np.arange(len(self.images), dtype="int32") % self._classes()
        found = self.client.predict("explain", {"images": self.images, "class_ids": ids})
        encoded = np.concatenate([self.images, 1 - self.images], axis=-1)
        logits = found["logits"][np.arange(len(ids)), ids]
        parts = found["bias"] + found["contributions"].sum((1, 2, 3)) + found["residual"]
        return (
            _differ("bias, contributions and residual", parts, logits)
            or _differ("residuals", found["residual"], 0 * logits, np.abs(logits).max())
            or _differ("weights times image", found["weights"] * encoded, found["contributions"])
            or _differ("the map", found["contribution_map"], found["contributions"].sum(-1))
        )

    def signatures_agree(self):
        files = np.array([_file(picture) for picture in self.pictures], object)
        default = self._default(self.images)
        logits, ids = default["logits"], default["class_ids"]
        decoded = self.client.predict("serving_bytes", {"image_bytes": files})
        plain = self.client.predict("classify", {"images": self.images})
        explained = self.client.predict("explain", {"images": self.images, "class_ids": ids})
        problems = [
            _differ("probabilities", default["probabilities"], 1 / (1 + np.exp(-logits))),
            None if (ids == logits.argmax(-1)).all() else "class_ids are not of the largest logits",
        ]
        for signature, found in (
            ("serving_bytes", decoded),
            ("classify", plain),
            ("explain", explained),
        ):
            problems += [
                _differ(f"{output} of {signature}", found[output], default[output])
                for output in found.keys() & default.keys()
            ]
        # Servables packaged by earlier versions have no such signature.
        if "classify_without" in self.signatures:
            removed = np.zeros(self.images.shape[:3], bool)
            whole = self._without(removed)
            nothing = self._without(~removed)
            problems += [
                _differ("logits without no pixel", whole, logits),
                _differ("logits without any", nothing, explained["bias"][:, None] + 0 * nothing),
            ]
        if "labels" in self.signatures:
            every = np.arange(self._classes(), dtype="int32")
            labels = self.client.predict("labels", {"class_ids": every})["labels"]
            again = self.client.predict("labels", {"class_ids": every[::-1]})["labels"]
            if len(set(labels)) != len(every) or list(again[::-1]) != list(labels):
                problems.append("labels are not one for each class")
        return next(filter(None, problems), None)

    def single_outputs_can_be_asked_for(self):
        for output in self.signatures["serving_default"].outputs:
            found = self.client.predict("serving_default", {"images": self.images[:1]}, [output])
            if list(found) != [output]:
                return f"asked for {output} alone, received {', '.join(found)}"
        return None

    def batches_answer_as_their_images_do(self):
        singles = [self._default(self.images[number : number + 1]) for number in range(max(SIZES))]
        for size in SIZES:
            if problem := self._differ_from(singles, self._default(self.images[:size])):
                return f"a batch of {size}: {problem}"
        return None

    def requests_at_once_get_their_own_answers(self):
        singles = [self._default(self.images[number : number + 1]) for number in range(max(SIZES))]

        def ask(number):
            size = SIZES[number % len(SIZES)]
            begin = number % (max(SIZES) - size + 1)
            found = self._default(self.images[begin : begin + size])
            return self._differ_from(singles[begin:], found)

        with futures.ThreadPoolExecutor(8) as pool:
            return next(filter(None, pool.map(ask, range(64))), None)

    def bad_requests_are_refused(self):
        image, ids = self.images[:1], np.zeros(1, "int32")
        wrong = _file(np.zeros((self.height + 1, self.width, 3), "uint8"))
        refused = "INVALID_ARGUMENT"
        for what, signature, inputs, code in (
            ("values above 1", "serving_default", {"images": image + 1.5}, refused),
            ("NaN", "classify", {"images": image * np.nan}, refused),
            ("a negative value", "explain", {"images": image - 2, "class_ids": ids}, refused),
            ("a size that is not the model's", "classify", {"images": image[:, 1:]}, refused),
            ("doubles", "classify", {"images": image.astype("float64")}, refused),
            ("no inputs", "classify", {}, refused),
            ("an unknown input", "classify", {"pictures": image}, refused),
            ("no such class", "explain", {"images": image, "class_ids": ids + 2**30}, refused),
            ("bytes that are no image", "serving_bytes", {"image_bytes": [b"x"]}, refused),
            ("half a PNG", "serving_bytes", {"image_bytes": [wrong[:40]]}, refused),
            ("a PNG of another size", "serving_bytes", {"image_bytes": [wrong]}, refused),
            ("a GIF", "serving_bytes", {"image_bytes": [_file(self.pictures[0], "GIF")]}, refused),
            ("a signature that is none", "regress", {"images": image}, "FAILED_PRECONDITION"),
        ):
            if problem := self._not_refused(self.client, what, signature, inputs, code):
                return problem
        return self._differ_from([self._default(image)], self._default(image))

    def versions_answer_by_number(self):
        states = self.client.status()
        served = [version for version, (state, _) in states.items() if state == "AVAILABLE"]
        if not served:
            return f"no version is AVAILABLE: {states}"
        image = {"images": self.images[:1]}
        for version, asked in [(max(served), self.client)] + [
            (version, self.of_version(version)) for version in served
        ]:
            _, answered = asked.answer("classify", image)
            if answered != version:
                return f"version {version} was asked, {answered} answered"
        none = self.of_version(cli.MAX_VERSION - 1)
        return self._not_refused(none, "no such version", "classify", image, "NOT_FOUND")

    def metrics_count_requests(self):
        if self.metrics is None:
            return None
        before = self._requests()
        self._default(self.images[:1])
        after = self._requests()
        return None if after > before else f"{after:.0f} requests after one more, as before it"

    def _default(self, images):
        return self.client.predict("serving_default", {"images": images})

    def _without(self, removed):
        inputs = {"images": self.images, "removed": removed}
        return self.client.predict("classify_without", inputs)["logits"]

    def _classes(self):
        return self.signatures["classify"].outputs["logits"].tensor_shape.dim[1].size

    def _differ_from(self, singles, found):
        count = len(found["logits"])
        for output in ("logits", "contribution_map"):
            expected = np.concatenate([single[output] for single in singles[:count]])
            if problem := _differ(output, found[output], expected):
                return problem
        return None

    def _not_refused(self, client, what, signature, inputs, code):
        try:
            client.predict(signature, inputs)
        except OSError as error:
            found = error.__cause__.code().name
            return None if found == code else f"{what}: {found} instead of {code}"
        return f"{what}: answered instead of {code}"

    def _requests(self):
        """How many requests the metrics say were answered well."""
        with urllib.request.urlopen(self.metrics, timeout=self.client.timeout) as answer:
            lines = answer.read().decode().splitlines()
        name = ":tensorflow:serving:request_count{"
        wanted = (f'model_name="{self.client.model}"', 'status="OK"')
        counts = [
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name) and all(part in line for part in wanted)
        ]
        return sum(counts)


def _differ(what, found, expected, scale=None):
    scale = np.abs(expected).max() if scale is None else scale
    error = np.abs(found - expected).max() / max(scale, 1e-6)
    return None if error <= TOLERANCE else f"{what}: off by {error:.1e} of its magnitude"


def _file(picture, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()
