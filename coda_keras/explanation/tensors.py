"""What explanations have in common: trees of arrays for compiled code, parts by image, files."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    # NumPy arrays, or tensors of the running backend.
    Array = TypeVar("Array", default=np.ndarray)
else:
    from typing import TypeVar

    Array = TypeVar("Array")


class Tensors:
    """Base of frozen dataclasses of arrays whose first axis is the image, or that are scalars.

    They may go into and come out of code that is compiled by `tf.function`, `jax.jit` or
    `torch.compile`, once they are registered by `coda_keras.backend.register_tree`.

    Attributes:
        axes: the fields that are arrays, with a letter for each axis, B for the images and `*`
            for the classes of an image where there are several. All other fields stay as they are.
    """

    axes: ClassVar[dict[str, str]]

    def arrays(self) -> dict[str, Any]:
        """The arrays by field, less those that are None."""
        values = {name: getattr(self, name) for name in self.axes}
        return {name: value for name, value in values.items() if value is not None}

    def numpy(self) -> Any:
        """Returns the same with NumPy arrays instead of backend tensors; None stays None."""
        return self._map(lambda _, value: ops.convert_to_numpy(value))

    def __len__(self) -> int:
        """The number of images."""
        counts = [value.shape[0] for name, value in self.arrays().items() if "B" in self.axes[name]]
        if not counts or counts[0] is None:
            raise ValueError("The number of images is not known: no array, or a graph of any size.")
        return int(counts[0])

    def __getitem__(self, images: Any) -> "Self":
        """Returns the same of some images, in the order given.

        Args:
            images: an integer, which gives an explanation of one image, with the axis of the
                images; a slice; `(k,)` integers; or `(B,)` booleans.

        Raises:
            IndexError: if there is no such image, or it is none of these.
        """
        images = ops.convert_to_numpy(images) if ops.is_tensor(images) else images
        rows = np.atleast_1d(np.arange(len(self))[images])
        if rows.ndim > 1:
            raise IndexError(f"Expected images along one axis. Received: {images!r}.")

        def of_images(name: str, value: Any) -> Any:
            if "B" not in self.axes[name]:
                return value
            return value[rows] if isinstance(value, np.ndarray) else ops.take(value, rows, axis=0)

        return self._map(of_images)

    def __iter__(self) -> "Iterator[Self]":
        """Explanations of one image each."""
        return (self[image] for image in range(len(self)))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the arrays into a file, from which `load` reads them.

        Args:
            path: path of the file, which ends in `.npz`; an existing file is replaced.

        Raises:
            ValueError: if the path ends otherwise.
        """
        from coda_keras.explanation import storage

        storage.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Self":
        """Reads what `save` wrote, as NumPy arrays. Nothing in a file is executed.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a file of `save`, of this class, or damaged.
        """
        from coda_keras.explanation import storage

        return storage.load(cls, path)

    def __repr__(self) -> str:
        from coda_keras.explanation import display

        return display.text(self)

    def _repr_png_(self) -> bytes | None:
        from coda_keras.explanation import display

        return display.png(self)

    def _map(self, function: Callable[[str, Any], Any]) -> "Self":
        changed: dict[str, Any] = {k: function(k, value) for k, value in self.arrays().items()}
        return cast("Self", replace(cast(Any, self), **changed))

    # What registries of trees call.

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The arrays, and all other fields."""
        values = vars(self)
        return (
            tuple(values[name] for name in self.axes),
            tuple(value for name, value in values.items() if name not in self.axes),
        )

    @classmethod
    def tree_unflatten(cls, others: tuple[Any, ...], arrays: tuple[Any, ...]) -> "Self":
        """The inverse of `tree_flatten`; fields are in the order of `axes`, the others last."""
        return cls(*arrays, *others)

    def __tf_flatten__(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        arrays, others = self.tree_flatten()
        return others, arrays

    @classmethod
    def __tf_unflatten__(cls, others: tuple[Any, ...], arrays: tuple[Any, ...]) -> "Self":
        return cls.tree_unflatten(others, arrays)
