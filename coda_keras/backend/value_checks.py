"""The one switch of the library: whether eager calls look at values."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_checking = ContextVar("checking", default=True)


def checking() -> bool:
    """Whether values are looked at; not inside `unchecked`."""
    return _checking.get()


@contextmanager
def unchecked() -> Iterator[None]:
    """Inside the block the values of images, class ids and labels are taken as they are.

    Eager calls otherwise look at them, for which they wait until an accelerator has computed them.
    So do Keras' methods of a `CoDANet`, on the host and before a batch is computed with: `predict`
    and `evaluate` look at every batch, and `fit` at the first of every epoch (of arrays at all
    images, once). Compiled and exported code never looks at images. Shapes and dtypes are checked
    always.

    Example:

    >>> net = CoDANet([DAUConv2D(5, 8, 3)], temperature=10)
    >>> with unchecked():
    ...     explanation = net.explain(np.ones((1, 4, 4, 3), "float32"))
    """
    token = _checking.set(False)
    try:
        yield
    finally:
        _checking.reset(token)
