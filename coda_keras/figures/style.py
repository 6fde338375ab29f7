"""What all figures share."""

FONT = 10
SMALL = 8.5


def light_frame(axes):
    """Takes away what a plot of curves does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)
