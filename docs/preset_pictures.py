"""Draws the pictures of the presets in the model zoo, and of the landing page.

    python docs/preset_pictures.py

writes docs/images/presets/NAME.png for every trained preset: the photographs that come with the
package, their contribution maps, and the weights as colours; and docs/images/account.png, one
photograph with its account.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np

from coda_keras import CoDANet, examples, figures
from coda_keras.models.pretrained import cards

IMAGES = Path(__file__).parent / "images"
LANDING, SHOWN = "s_coda_quarter_cifar10", "frog"


def main() -> None:
    photographs = examples.load("cifar10")
    (IMAGES / "presets").mkdir(exist_ok=True)
    for name in cards():
        net = CoDANet.from_preset(name)
        explanation = net.explain(photographs).numpy()
        titles = [net.class_names[i] for i in explanation.class_ids]
        figure = figures.gallery(
            photographs,
            explanation.contribution_map,
            titles,
            columns=2,
            weights=explanation.weights,
        )
        figures.save_figure(figure, IMAGES / "presets" / f"{name}.png")
        if name == LANDING:
            draw_account(photographs, explanation, titles)


def draw_account(photographs: np.ndarray, explanation, titles: list[str]) -> None:
    """One photograph whose contributions add up to its logit."""
    index = titles.index(SHOWN)
    account = [
        float(explanation.bias),
        float(explanation.contributions[index].sum()),
        float(explanation.logits[index].max()),
    ]
    # As many digits as it takes for the shown numbers to add up.
    shown = (f"{{:.{n}f}} + {{:.{n}f}} = {{:.{n}f}}".format(*account) for n in range(2, 7))
    sums = [text for text in shown if adds_up(text)]
    figure = figures.plot_contributions(
        photographs[index],
        explanation.contribution_map[index],
        [f"{SHOWN}: {sums[0]}"],
        weights=explanation.weights[index],
    )
    figures.save_figure(figure, IMAGES / "account.png")


def adds_up(text: str) -> bool:
    """Whether a sum is right in the digits that it has."""
    left, right = text.split(" = ")
    return sum(map(Decimal, left.split(" + "))) == Decimal(right)


if __name__ == "__main__":
    main()
