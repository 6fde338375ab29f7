"""The classes of ImageNet (ILSVRC 2012): synsets of WordNet in the order of their ids."""

from importlib import resources


def class_names(count: int = 1000) -> list[str]:
    """The first words of the first `count` classes, no two alike.

    >>> class_names(3)
    ['tench', 'goldfish', 'great white shark']
    """
    text = (resources.files("coda_keras.data") / "imagenet_classes.txt").read_text("utf-8")
    return text.splitlines()[:count]
