"""The signatures of servables, as functions of TensorFlow."""
