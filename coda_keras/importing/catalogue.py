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
}


def temperature(name: str) -> float:
    """The temperature of a net of the authors, with which its name ends.

    >>> temperature("9L-S-CoDA-SQ-1000")
    1000.0
    """
    return float(name.rpartition("-")[2])
