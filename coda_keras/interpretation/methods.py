"""The attribution methods by the names the command takes, with the paper's settings."""

import re

from coda_keras import attribution

ALL = (
    "contributions",
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "deeplift",
    "gradcam",
    "occlusion_5",
    "occlusion_9",
    "rise",
    "lime",
)
# Thousands or hundreds of evaluations an image: they get fewer images.
DEAR = ("rise", "lime")
# As the authors name them in the results they released.
PUBLISHED = {
    "contributions": "Ours",
    "gradient": "Grad",
    "input_x_gradient": "IxG",
    "integrated_gradients": "IntGrad",
    "deeplift": "DeepLIFT",
    "gradcam": "GCam",
    "occlusion_5": "Occ5",
    "occlusion_9": "Occ9",
}


def chosen(text):
    """Reads a comma-separated list of names, or "all".

    Raises:
        ValueError: for an unknown method.
    """
    names = list(ALL) if text == "all" else [name for name in text.split(",") if name]
    unknown = [n for n in names if n not in ALL and not re.fullmatch(r"occlusion_[1-9]\d*", n)]
    if unknown or not names:
        raise ValueError(
            f"--methods {text}: expected some of {', '.join(ALL)} (occlusion_K for any K) or all."
        )
    return list(dict.fromkeys(names))


def settings(name, args, activation):
    """What `attribution.get` takes for a method: `(key, arguments)`."""
    if name.startswith("occlusion_"):
        size = int(name.removeprefix("occlusion_"))
        return "occlusion", {"patch_size": size, "stride": args.occlusion_stride}
    if name == "rise":
        return name, {"num_masks": args.rise_masks, "activation": activation}
    if name == "lime":
        return name, {
            "num_samples": args.lime_samples,
            "kernel_size": args.lime_kernel_size,
            "activation": activation,
        }
    return name, {}


def make(name, args, activation, batch_size):
    """Makes the method.

    Raises:
        ValueError: if a package it needs is missing.
    """
    key, arguments = settings(name, args, activation)
    try:
        return attribution.get(key, batch_size=batch_size, **arguments)
    except ImportError as error:
        raise ValueError(f"{error}; or leave {name} out of --methods.") from error
