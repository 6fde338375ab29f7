"""Draws the pictures of the presets in the model zoo, and of the landing page.

    python docs/preset_pictures.py

writes docs/images/presets/NAME.png for every trained preset: the photographs that come with the
package, their contribution maps, and the weights as colours; and docs/images/account.png, one
photograph with its account.
"""

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
            account(photographs, explanation, titles)


def account(photographs: np.ndarray, explanation, titles: list[str]) -> None:
    """One photograph whose contributions add up to its logit."""
    index = titles.index(SHOWN)
    logit, bias = explanation.logits[index].max(), float(explanation.bias)
    total = explanation.contributions[index].sum()
    figure = figures.plot_contributions(
        photographs[index],
        explanation.contribution_map[index],
        [f"{SHOWN}: {bias:.3f} + {total:.3f} = {logit:.3f}"],
        weights=explanation.weights[index],
    )
    figures.save_figure(figure, IMAGES / "account.png")


if __name__ == "__main__":
    main()
