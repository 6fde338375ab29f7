"""Which precision a training computes in: what `--precision auto` chooses, and why.

bfloat16 pays where it is multiplied natively. An accelerator tells whether it does. Of a processor
the features are read, where the system lists them; then a product of the running backend is timed,
since the features say nothing of the code that is to use them.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.training.setting_parts import AUTO
from coda_keras.utils import processors

EXACT, FAST = "float32", "mixed_bfloat16"
# x86-64 and ARM, as Linux calls them.
NATIVE = ("amx_bf16", "avx512_bf16", "bf16", "svebf16")
# Of the time of a float32 product, above which bfloat16 does not pay.
MOST = 0.9
_SIZE, _SECONDS, _ROUNDS = 512, 0.05, 5


class Choice(NamedTuple):
    """A precision and the reason for it.

    Attributes:
        policy: name of the dtype policy, `"float32"` or `"mixed_bfloat16"`.
        reason: str, half a sentence.
    """

    policy: str
    reason: str


def choose(
    accelerators: Mapping[str, bool],
    features: Collection[str] | None,
    time_ratio: Callable[[], float],
) -> Choice:
    """Chooses the faster precision of a machine.

    Args:
        accelerators: names of the GPUs and TPUs in use, and whether each multiplies bfloat16.
        features: of the processor; None if they are not known.
        time_ratio: function that returns the time of a bfloat16 product over that of a float32
            one; called only if the answer depends on it.

    Returns:
        `Choice`.
    """
    if accelerators:
        without = [name for name, native in accelerators.items() if not native]
        if without:
            return Choice(EXACT, f"{without[0]} is not known to multiply bfloat16")
        return Choice(FAST, f"{next(iter(accelerators))} multiplies bfloat16")
    having = ""
    if features is not None:
        native = [name for name in NATIVE if name in features]
        if not native:
            reason = (
                f"the processor has none of {', '.join(NATIVE)}, without which a step in bfloat16 "
                "takes about 10 times as long"
            )
            return Choice(EXACT, reason)
        having = f"the processor has {native[0]}, and "
    ratio = time_ratio()
    reason = f"{having}a product in bfloat16 takes {ratio:.2f} of the time in float32"
    return Choice(FAST if ratio <= MOST else EXACT, reason)


@cache
def of_this_machine() -> Choice:
    """What `choose` says of the devices that the running backend computes on.

    The backend computes for it, so logical devices must be set up before.
    """
    return choose(backend.native_bfloat16(), processors.features(), product_time_ratio)


def product_time_ratio(seconds: float = _SECONDS) -> float:
    """Times a matrix product in bfloat16 and in float32, in turns.

    Args:
        seconds: float, about how long, compilation aside.

    Returns:
        The shortest time in bfloat16 over the shortest in float32.
    """
    values = np.random.default_rng(0).normal(size=(_SIZE, _SIZE)).astype("float32")
    matrices = [ops.convert_to_tensor(values, dtype) for dtype in ("bfloat16", "float32")]

    def timed(matrix):
        start = time.perf_counter()
        # Backends compute when a value is asked for; NumPy has no bfloat16.
        ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32"))
        return time.perf_counter() - start

    for matrix in matrices:
        timed(matrix)
    times: list[list[float]] = []
    start = time.perf_counter()
    # The shortest of a few is that of the processor, whatever else it does.
    while len(times) < _ROUNDS or time.perf_counter() - start < seconds:
        times.append([timed(matrix) for matrix in matrices])
    bfloat16, float32 = np.min(times, axis=0)
    return float(bfloat16 / float32)


def resolve(asked: str, earlier: str | None = None) -> str:
    """The dtype policy of a run; prints it with the reason, and warns where it is slow.

    Args:
        asked: `"auto"`, `"float32"` or `"mixed_bfloat16"`.
        earlier: that of the interrupted run which goes on, or None.
    """
    policy, why = earlier or asked, "as this run began" if earlier else f"--precision {asked}"
    if policy == AUTO:
        policy, reason = of_this_machine()
        why = f"{why}: {reason}"
    print(f"Computing in {policy} ({why}).")
    if policy == FAST and of_this_machine().policy == EXACT:
        again = " in another --output" if earlier else ""
        print(
            f"Warning: mixed_bfloat16 is slow here: {of_this_machine().reason}. "
            f"--precision auto{again} chooses float32.",
            file=sys.stderr,
        )
    return policy


def set_policy(policy: str) -> None:
    """Sets Keras' dtype policy, and float32 products to their full precision.

    Args:
        policy: `"float32"`, or `"mixed_bfloat16"` for faster arithmetic.
    """
    keras.config.set_dtype_policy(policy)
    backend.use_full_precision()
