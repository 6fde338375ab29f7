"""What all figures share: font sizes and a colour for every method."""

FONT = 10
SMALL = 8.5

_COLOURS = {
    "Ours": "#d62728",
    "Occ5": "#ff9f40",
    "Occ9": "#a0522d",
    "GradCAM": "#2ca02c",
    "IntGrad": "#1f77b4",
    "IxG": "#17becf",
    "DeepLIFT": "#7f7f7f",
    "Grad": "#9467bd",
    "RISE": "#e377c2",
    "LIME": "#a8a915",
}
_OTHERS = ("#000000", "#556b2f", "#483d8b", "#008080", "#b8860b")


def colour(label):
    """Returns the colour of a method by its label, the same in every figure.

    Example:

    >>> colour("Ours"), colour("Ours") == colour("IxG")
    ('#d62728', False)
    """
    return _COLOURS.get(label, _OTHERS[sum(map(ord, label)) % len(_OTHERS)])


def light_frame(axes):
    """Takes away what a plot of curves does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)
