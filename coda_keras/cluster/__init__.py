"""Work as wide as there are devices: on one machine, or on a Ray cluster."""
