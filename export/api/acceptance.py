"""Checks of a server from outside: that it answers, and refuses, as a servable of ours should.

Every answer is held against other answers and against what outputs mean, so that nothing but the
server is needed.
"""

import io
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from coda_keras_export.api import MAX_VERSION, max_images
from coda_keras_export.api.connection import Client, tensor_shape
from PIL import Image

# Of the largest magnitude; servers may run other kernels for other batches.
TOLERANCE = 1e-4
SIZES = (1, 2, 3, 5, 8)
Outputs = Mapping[str, np.ndarray]


class Acceptance:
    """The checks of one model.

    Args:
        client: a connection to it.
        of_version: function of a version that returns a connection to that.
        metrics: URL of the server's metrics; None to leave them out.

    Raises:
        ValueError: if the model is no servable of ours.
    """

    def __init__(
        self, client: Client, of_version: Callable[[int], Client], metrics: str | None = None
    ) -> None:
        self.client, self.of_version, self.metrics = client, of_version, metrics
        self.signatures = client.signatures()
        shape = tensor_shape(self.signatures, "serving_default", "inputs", "images")
        _, self.height, self.width, _ = shape
        most = max_images(self.height, self.width)
        self.sizes = [size for size in SIZES if size <= most]
        pictures = self.sizes[-1], self.height, self.width, 3
        self.pictures = np.random.default_rng(0).integers(0, 256, pictures, "uint8")
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

    def the_account_of_a_logit_adds_up(self) -> str | None:
        ids = np.arange(len(self.images), dtype="int32") % self._classes()
        answer = self.client.predict("explain", {"images": self.images, "class_ids": ids})
        encoded = np.concatenate([self.images, 1 - self.images], axis=-1)
        logits, contributions = answer["logits"][np.arange(len(ids)), ids], answer["contributions"]
        parts = answer["bias"] + contributions.sum((1, 2, 3)) + answer["residual"]
        # Servables of earlier versions tell of no constants.
        parts = parts + answer.get("offset", 0.0)
        return (
            _differ("bias, contributions, offset and residual", parts, logits)
            or _differ("residuals", answer["residual"], 0 * logits, np.abs(logits).max())
            or _differ("weights times image", answer["weights"] * encoded, contributions)
            or _differ("the map", answer["contribution_map"], contributions.sum(-1))
        )

    def signatures_agree(self) -> str | None:
        files = np.array([_file(picture) for picture in self.pictures], object)
        default = self._default(self.images)
        logits, ids = default["logits"], default["class_ids"]
        decoded = self.client.predict("serving_bytes", {"image_bytes": files})
        plain = self.client.predict("classify", {"images": self.images})
        explained = self.client.predict("explain", {"images": self.images, "class_ids": ids})
        # Sigmoids, without overflow.
        probabilities = np.exp(-np.logaddexp(0, -logits))
        problems = [
            _differ("probabilities", default["probabilities"], probabilities),
            None if (ids == logits.argmax(-1)).all() else "class_ids are not of the largest logits",
        ]
        for signature, answer in (
            ("serving_bytes", decoded),
            ("classify", plain),
            ("explain", explained),
        ):
            problems += [
                _differ(f"{output} of {signature}", answer[output], default[output])
                for output in answer.keys() & default.keys()
            ]
        # Servables packaged by earlier versions have no such signature.
        if "classify_without" in self.signatures:
            removed = np.zeros(self.images.shape[:3], bool)
            whole = self._without(removed)
            nothing = self._without(~removed)
            problems.append(_differ("logits without no pixel", whole, logits))
            # With constants inside of the net these remain.
            if not np.any(explained.get("offset", 0.0)):
                bias = explained["bias"][:, None] + 0 * nothing
                problems.append(_differ("logits without any", nothing, bias))
        if "labels" in self.signatures:
            every = np.arange(self._classes(), dtype="int32")
            labels = self.client.predict("labels", {"class_ids": every})["labels"]
            again = self.client.predict("labels", {"class_ids": every[::-1]})["labels"]
            if len(set(labels)) != len(every) or list(again[::-1]) != list(labels):
                problems.append("labels are not one for each class")
        return next(filter(None, problems), None)

    def single_outputs_can_be_asked_for(self) -> str | None:
        for output in self.signatures["serving_default"].outputs:
            answer = self.client.predict("serving_default", {"images": self.images[:1]}, [output])
            if list(answer) != [output]:
                return f"asked for {output} alone, received {', '.join(answer)}"
        return None

    def batches_answer_as_their_images_do(self) -> str | None:
        singles = self._singles()
        for size in self.sizes:
            if problem := self._differ_from(singles, self._default(self.images[:size])):
                return f"a batch of {size}: {problem}"
        return None

    def requests_at_once_get_their_own_answers(self) -> str | None:
        singles = self._singles()

        def ask(number: int) -> str | None:
            size = self.sizes[number % len(self.sizes)]
            begin = number % (len(self.images) - size + 1)
            answer = self._default(self.images[begin : begin + size])
            return self._differ_from(singles[begin:], answer)

        with futures.ThreadPoolExecutor(8) as pool:
            return next(filter(None, pool.map(ask, range(64))), None)

    def bad_requests_are_refused(self) -> str | None:
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

    def versions_answer_by_number(self) -> str | None:
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
        none = self.of_version(MAX_VERSION - 1)
        return self._not_refused(none, "no such version", "classify", image, "NOT_FOUND")

    def metrics_count_requests(self) -> str | None:
        if self.metrics is None:
            return None
        before = self._requests(self.metrics)
        self._default(self.images[:1])
        after = self._requests(self.metrics)
        return None if after > before else f"{after:.0f} requests after one more, as before it"

    def _default(self, images: np.ndarray) -> Outputs:
        return self.client.predict("serving_default", {"images": images})

    def _singles(self) -> list[Outputs]:
        return [self._default(image[None]) for image in self.images]

    def _without(self, removed: np.ndarray) -> np.ndarray:
        inputs = {"images": self.images, "removed": removed}
        return self.client.predict("classify_without", inputs)["logits"]

    def _classes(self) -> int:
        return tensor_shape(self.signatures, "classify", "outputs", "logits")[1]

    def _differ_from(self, singles: Sequence[Outputs], answer: Outputs) -> str | None:
        count = len(answer["logits"])
        for output in ("logits", "contribution_map"):
            expected = np.concatenate([single[output] for single in singles[:count]])
            if problem := _differ(output, answer[output], expected):
                return problem
        return None

    def _not_refused(
        self, client: Client, what: str, signature: str, inputs: Mapping[str, Any], code: str
    ) -> str | None:
        try:
            client.predict(signature, inputs)
        except OSError as error:
            answered = error.__cause__.code().name
            return None if answered == code else f"{what}: {answered} instead of {code}"
        return f"{what}: answered instead of {code}"

    def _requests(self, url: str) -> float:
        """How many requests the metrics say were answered well."""
        with urllib.request.urlopen(url, timeout=self.client.timeout) as answer:
            lines = answer.read().decode().splitlines()
        name = ":tensorflow:serving:request_count{"
        wanted = (f'model_name="{self.client.model}"', 'status="OK"')
        counts = [
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name) and all(part in line for part in wanted)
        ]
        return sum(counts)


def _differ(
    what: str, values: np.ndarray, expected: np.ndarray, scale: float | None = None
) -> str | None:
    largest = np.abs(expected).max() if scale is None else scale
    error = np.abs(values - expected).max() / max(largest, 1e-6)
    return None if error <= TOLERANCE else f"{what}: off by {error:.1e} of its magnitude"


def _file(picture: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()
