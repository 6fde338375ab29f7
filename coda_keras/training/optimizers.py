"""Muon for Dynamic Alignment Units and convolutions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.registration import PACKAGE

# Coefficients of the quintic Newton-Schulz iteration (Jordan et al., 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


@keras.saving.register_keras_serializable(PACKAGE)
class DAUMuon(keras.optimizers.Optimizer):
    """Muon on the matrices A_j and B of DAU layers and on kernels of convolutions, else Adam.

    Muon (Jordan et al., 2024) replaces the momentum of a matrix by the nearest one with orthogonal
    columns or rows, so that all directions of a unit learn at the same pace. Every A_j is a matrix
    of its own. Updates have the root mean square `0.2 learning_rate` (Liu et al., 2025,
    arXiv:2502.16982), so that rates are about those of Adam. `keras.optimizers.Muon` takes
    variables of two dimensions only for matrices, and would treat these by AdamW.

    Args:
        learning_rate: float or a schedule.
        momentum: float in [0, 1), of the matrices, with Nesterov's look ahead.
        beta_1, beta_2, epsilon: of Adam.
        steps: int, Newton-Schulz iterations.
        rms_rate: float, root mean square of an update at rate 1.
        fixed_norms: bool, whether matrices keep the norms that they have: an update has the norm of
            its matrix at rate 1, whatever `rms_rate`, and the matrix is scaled back after it
            (Jordan, 2024). The rate then means the same throughout a training.
        adam_rate: float, factor on the rate of what Adam updates.
        **kwargs: of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.004,
        momentum: float = 0.95,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        steps: int = 5,
        rms_rate: float = 0.2,
        fixed_norms: bool = False,
        adam_rate: float = 1.0,
        name: str = "dau_muon",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.steps = steps
        self.rms_rate = rms_rate
        self.fixed_norms = fixed_norms
        self.adam_rate = adam_rate

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = [], []
        for variable in variables:
            made = self.add_variable_from_reference(variable, name="momentum")
            self._momentums.append(made)
            second = None
            if not _is_matrices(variable):
                second = self.add_variable_from_reference(variable, name="velocity")
            self._velocities.append(second)

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if velocity is None:
            self.assign(momentum, self.momentum * momentum + gradient)
            self._step_matrices(variable, gradient + self.momentum * momentum, rate)
        else:
            step = ops.cast(self.iterations + 1, variable.dtype)
            self.assign_add(momentum, (1 - self.beta_1) * (gradient - momentum))
            self.assign_add(velocity, (1 - self.beta_2) * (ops.square(gradient) - velocity))
            first = momentum / (1 - ops.power(self.beta_1, step))
            second = velocity / (1 - ops.power(self.beta_2, step))
            update = first / (ops.sqrt(second) + self.epsilon)
            self.assign_sub(variable, self.adam_rate * rate * update)

    def _step_matrices(self, variable, direction, rate):
        """Moves the matrices of a variable along the nearest orthogonal ones."""
        shape = variable.shape
        units, rank = (shape[3], shape[4]) if len(shape) == 5 else (1, shape[3])
        updates = self._orthogonal(_as_matrices(direction, units, rank))
        if self.fixed_norms:
            matrices = _as_matrices(variable, units, rank)
            norms = _norms(matrices)
            moved = matrices - updates * (rate * norms / (_norms(updates) + self.epsilon))
            moved = moved * (norms / (_norms(moved) + self.epsilon))
            self.assign(variable, ops.reshape(ops.transpose(moved, (1, 0, 2)), shape))
        else:
            updates = updates * (self.rms_rate * max(updates.shape[1:]) ** 0.5)
            updates = ops.reshape(ops.transpose(updates, (1, 0, 2)), shape)
            self.assign_sub(variable, rate * updates)

    def _orthogonal(self, matrices):
        depth, rank = matrices.shape[1:]
        wide = depth < rank
        matrices = ops.swapaxes(matrices, 1, 2) if wide else matrices
        matrices = matrices / (_norms(matrices) + self.epsilon)
        a, b, c = QUINTIC
        for _ in range(self.steps):
            gram = ops.matmul(ops.swapaxes(matrices, 1, 2), matrices)
            matrices = a * matrices + ops.matmul(matrices, b * gram + c * ops.matmul(gram, gram))
        return ops.swapaxes(matrices, 1, 2) if wide else matrices

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "steps": self.steps,
            "rms_rate": self.rms_rate,
            "fixed_norms": self.fixed_norms,
            "adam_rate": self.adam_rate,
        }


def _as_matrices(values, units, rank):
    """A variable's values as `(units, depth, rank)`."""
    return ops.transpose(ops.reshape(values, (-1, units, rank)), (1, 0, 2))


def _norms(matrices):
    return ops.sqrt(ops.sum(ops.square(matrices), axis=(1, 2), keepdims=True))


def _is_matrices(variable):
    """Whether a variable is an A, `(k, k, C, f, r)`, a B, `(k, k, C, r)`, or a kernel like B."""
    dimensions = len(variable.shape)
    return dimensions == 5 or (dimensions == 4 and variable.name in ("projection", "kernel"))
