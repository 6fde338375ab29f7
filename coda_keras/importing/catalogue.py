"""What others published that can be imported: names, addresses, terms. No framework is needed."""

from typing import NamedTuple

from coda_keras.importing.published import Published


class Family(NamedTuple):
    """Nets that were published together.

    Attributes:
        title: str, whose they are.
        code: str, address of their code.
        licence: str, the terms of code and weights, as far as they were published.
        citation: str, the paper.
        nets: the files by the names of the nets.
    """

    title: str
    code: str
    licence: str
    citation: str
    nets: dict[str, Published]


_SHARES = "https://nextcloud.mpi-klsb.mpg.de/index.php/s"
# `_model_urls` of their interpretability/utils.py.
_AUTHORS = {
    "9L-S-CoDA-SQ-10": "H8FgwMHJTTTYDJw",
    "9L-S-CoDA-SQ-50": "SqPBioqmxEWbH9g",
    "9L-S-CoDA-SQ-100": "yk7LajwLwpXXzf5",
    "9L-S-CoDA-SQ-500": "zfeYMASLtKNGgsQ",
    "9L-S-CoDA-SQ-1000": "8ykMc8XLQMtCxHo",
    "9L-S-CoDA-SQ-5000": "6iY992FYEsfHkeA",
    "9L-L-CoDA-SQ-100000": "pArrgmncXAAiH5R",
}

_RELEASE = "https://github.com/B-cos/B-cos-v2/releases/download/v0.0.1-weights"
# `URLS` of their bcos/models/pretrained.py; the digits begin the SHA-256. Of two trainings of one
# architecture the longer has `_long` in its name, as its file has.
_BCOS = {
    "resnet_18": "68b4160fff",
    "resnet_34": "a63425a03e",
    "resnet_50": "ead259efe4",
    "resnet_101": "84c3658278",
    "resnet_152": "42051a77c1",
    "densenet_121": "b8daf96afb",
    "densenet_161": "9e9ea51353",
    "densenet_169": "7037ee0604",
    "densenet_201": "00ac87066f",
    "resnet_50_long": "ef38a88533",
    "resnet_152_long": "0b4b434939",
    "densenet_121_long": "5175461597",
    "simple_vit_ti_patch16_224": "4b0824b1c1",
    "simple_vit_s_patch16_224": "75e99d1f73",
    "simple_vit_b_patch16_224": "1fc4750806",
    "simple_vit_l_patch16_224": "9613b2ad0a",
}


def _bcos(name, digits):
    file_name = f"{'bcos_' if 'vit' in name else ''}{name}-{digits}.pth"
    return Published(name, f"{_RELEASE}/{file_name}", file_name, digits)


FAMILIES = {
    "authors": Family(
        "the authors of the paper",
        "https://github.com/moboehle/CoDA-Nets",
        'The code: "This code is licensed under the BSD License 2.0" (its README). The weights '
        "were published without terms of their own; they are no part of coda-keras.",
        "Böhle, Fritz, Schiele: Convolutional Dynamic Alignment Networks for Interpretable "
        "Classifications. CVPR 2021.",
        {
            name: Published(name, f"{_SHARES}/{share}/download", f"{name}.pkl")
            for name, share in _AUTHORS.items()
        },
    ),
    "bcos": Family(
        "B-cos v2",
        "https://github.com/B-cos/B-cos-v2",
        "Apache-2.0, of the repository with whose releases the weights were published; they are no "
        "part of coda-keras.",
        "Böhle, Singh, Fritz, Schiele: B-cos Alignment for Inherently Interpretable CNNs and "
        "Vision Transformers. TPAMI, 2024.",
        {name: _bcos(name, digits) for name, digits in _BCOS.items()},
    ),
}


def temperature(name: str) -> float:
    """The temperature of a net of the authors, with which its name ends.

    >>> temperature("9L-S-CoDA-SQ-1000")
    1000.0
    """
    return float(name.rpartition("-")[2])
