"""What maps show, as colour bars say it."""

CONTRIBUTION = "contribution (logits)"
INPUT_X_GRADIENT = "input x gradient (logits)"
