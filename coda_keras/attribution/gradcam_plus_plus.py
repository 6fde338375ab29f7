"""GradCAM++ (Chattopadhay, Sarkar, Howlader, Balasubramanian, 2018)."""

from keras import ops

from coda_keras.attribution.gradcam import GradCAM
from coda_keras.backend.types import Tensor


class GradCAMPlusPlus(GradCAM):
    """`relu(sum over k of w_k A_k)`, each w_k a weighted sum of positive gradients, enlarged.

    With A_k the activations of a layer at the positions ij and Y the score of the class, the
    paper weighs channel k by

        w_k = sum over ij of a_kij relu(dY / dA_kij)
        a_kij = d2Y / dA_kij^2  /  (2 d2Y / dA_kij^2 + (sum over ab of A_kab) d3Y / dA_kij^3)

    Its Y is exp(S), S the logit of the class. If S is linear in A piece by piece, as behind ReLUs
    and pooling, then with g = dS / dA the n-th derivative of Y is exp(S) g^n, hence

        a_kij = 1 / (2 + g_kij (sum over ab of A_kab))

    wherever g is not 0, and where it is 0 nothing is summed. This is what is computed, whatever
    lies behind the layer. The factor exp(S), one number for a whole map, is left out: it would
    overflow, and it only scales the map.

    The weights are positive if the activations are, as after a ReLU. Sums of activations below
    `-2 / g` turn the sign of a weight: on a `CoDANet`, whose last layer has signed outputs, the
    default map is GradCAM's times `h w / (2 + logit_c - b_0)` over h x w positions as long as
    `logit_c - b_0 > -2`; of classes with less evidence it shows the positions against them.

    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep
    Convolutional Networks", WACV 2018.

    Args:
        **kwargs: `layer`, `interpolation` of `GradCAM`, `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: on a call, if the model has no such layer.
    """

    def channel_weights(self, activations: Tensor, gradients: Tensor) -> Tensor:
        divisors = 2 + gradients * ops.sum(activations, axis=(1, 2), keepdims=True)
        # Only signed activations can make it 0; the authors' code puts 1 there, too.
        divisors = ops.where(divisors == 0, ops.ones_like(divisors), divisors)
        return ops.sum(ops.relu(gradients) / divisors, axis=(1, 2), keepdims=True)
