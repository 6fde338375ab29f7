"""Networks: `CoDANet`, presets and trained nets, loading, and ResNets to compare with."""
