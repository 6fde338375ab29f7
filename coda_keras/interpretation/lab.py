"""Everything that figures are made from."""

from dataclasses import dataclass, field

import numpy as np


class Missing(Exception):
    """What a figure needs is not there; the message says what."""


@dataclass
class Lab:
    """The models under study and what was found out about them.

    Attributes:
        args: the parsed flags.
        studies: `Study` of each model; the first is studied by all methods.
        baseline: `Study` of the baseline, or None.
        numbers: dict from model name to a dict from method to a dict of its metrics.
        sanity_maps: dict from method to maps `(S + 1, H, W)` of the first test image, by the
            first model.
    """

    args: object
    studies: list
    baseline: object = None
    numbers: dict = field(default_factory=dict)
    sanity_maps: dict = field(default_factory=dict)

    @property
    def main(self):
        return self.studies[0]

    def numbers_of(self, study):
        return self.numbers.get(study.name, {})

    def nets(self):
        """The CoDA-Nets, by temperature."""
        nets = [study for study in self.studies if study.inherent]
        return sorted(nets, key=lambda study: study.temperature)

    def net(self):
        """The model under study, where only a CoDA-Net will do."""
        if not self.main.inherent:
            raise Missing(f"{self.main.path} is no CoDA-Net")
        return self.main

    def need_baseline(self):
        if self.baseline is None:
            raise Missing("there is no --baseline")
        return self.baseline


def confident(study, per_class=1):
    """Indices of the most confident test images of a study, by class."""
    chosen = study.confident(per_class)
    if not len(chosen):
        raise Missing(f"{study.path} classifies no test image correctly")
    return chosen


def few(study, count):
    """A few of the most confident test images, of classes spread over all of them."""
    chosen = confident(study)
    return chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)]


def class_names(study, indices):
    return [study.class_names[label] for label in study.labels[indices]]
