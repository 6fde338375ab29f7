"""The maps of all methods as the explorer shows them, to be compared pixel by pixel."""

from typing import Any

from coda_keras import attribution
from coda_keras.explanation.display import explanation_view
from coda_keras.explorer import View
from coda_keras.study.errors import Missing
from coda_keras.study.studied_model import Subject

CONTRIBUTIONS = "contributions"


def method_views(study: Any) -> dict[str, View]:
    """The maps of every method for the most confident test image of each class.

    Args:
        study: a `Study`.

    Returns:
        Views by name: the model's and the method's. Those of a net's own contributions sum to the
        logit, others to nothing but themselves.

    Raises:
        Missing: if no model classifies any image correctly.
    """
    subjects = [subject for subject in study.models if len(subject.confident())]
    if not subjects:
        raise Missing("no model classifies any test image correctly")
    several = len(study.models) > 1
    return {
        f"{subject.name}/{method}": _view(subject, method, several)
        for subject in subjects
        for method in subject.names
    }


def _view(subject: Subject, method: str, several: bool) -> View:
    chosen = subject.confident()
    images, labels = subject.images[chosen], subject.labels[chosen]
    more = {
        "class_names": subject.class_names,
        "labels": labels,
        "names": [f"test image {index}" for index in chosen],
        "title": subject.label(method) + (f", {subject.name}" if several else ""),
    }
    if method == CONTRIBUTIONS and subject.inherent:
        return explanation_view(subject.model.explain(images, labels), images, **more)
    return View(
        images=images,
        logits=subject.logits[chosen],
        class_ids=labels[:, None],
        maps=subject.maps(method, chosen)[:, None],
        activation=subject.activation,
        quantity=f"as {attribution.find(method).label} has it",
        **more,
    )
