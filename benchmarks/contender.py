"""One side of a comparison, in a process of its own: builds a net, then runs when it is told to.

    PYTHONPATH=CHECKOUT python benchmarks/contender.py 'JSON OF ARGUMENTS'

Reads lines from standard input and answers each with a line of JSON: `run` runs the operation once
and answers with milliseconds per image, `memory` with the MiB by which this process' peak rose
since the net was built, `output` with the numbers that the operation gave, `floor` with the
milliseconds per image that its arithmetic takes by `floor.py`. The checkout is this one or
another of this repository, whose code then runs; the arguments are those of `build` below, the
`operation` and its `mode`. Without a mode the authors' code runs, of which a clone then stands in
PYTHONPATH too.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from coda_keras import CoDANet, OneVsAllCrossentropy


def build(
    preset: str,
    rank_scale: float,
    image_size: int | None,
    implementation: str,
    precision: str,
    **_: Any,
) -> CoDANet:
    """A net with the same seeded weights for every contender."""
    keras.utils.set_random_seed(0)
    return CoDANet.from_preset(
        preset,
        rank_scale=rank_scale,
        image_size=image_size,
        implementation=implementation,
        # The difference between implementations should not drown in a constant.
        logit_bias=0.0,
        dtype=precision,
    )


def operation(net: CoDANet, name: str, mode: str) -> Callable[..., tf.Tensor]:
    """A compiled function of `(images, labels)`."""
    if name == "train":
        loss_function = OneVsAllCrossentropy()
        optimizer = keras.optimizers.Adam(1e-4)
        optimizer.build(net.trainable_variables)

    def run(images, labels):
        if name == "forward":
            return net(images)
        if name == "explain":
            return net.explain(images).contribution_map
        with tf.GradientTape() as tape:
            loss = loss_function(labels, net(images, training=True))
        gradients = tape.gradient(loss, [v.value for v in net.trainable_variables])
        optimizer.apply(gradients, net.trainable_variables)
        return loss

    return tf.function(run, jit_compile=mode == "xla", autograph=False)


def peak_mib() -> float:
    """The most memory of the GPU, or of this process, so far."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    # Unlike getrusage's figure this one does not start from the parent's.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main() -> None:
    arguments = json.loads(sys.argv[1])
    net = build(**arguments)
    batch_size = arguments["batch_size"]
    random = np.random.default_rng(0)
    images = random.uniform(size=(batch_size, *net.image_size, 3)).astype("float32")
    labels = random.integers(0, net.classes, size=batch_size)
    inputs = tf.constant(images), tf.constant(labels)
    if "mode" in arguments:
        before = peak_mib()
        function = operation(net, arguments["operation"], arguments["mode"])
    else:
        import authors

        module = authors.copy(net)
        before = peak_mib()
        function = authors.operation(module, arguments["operation"])
    output = None
    for line in sys.stdin:
        command = line.strip()
        if command == "run":
            start = time.perf_counter()
            output = function(*inputs).numpy()
            answer = 1000 * (time.perf_counter() - start) / batch_size
        elif command == "memory":
            answer = peak_mib() - before
        elif command == "floor":
            # Not at the top: other checkouts may lack what it imports.
            import floor

            rate = floor.product_rate("float32", repetitions=3 * arguments["repetitions"])
            answer = floor.floor_milliseconds(net, arguments["operation"], rate)
        else:
            answer = np.asarray(output, "float64").ravel().tolist()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
