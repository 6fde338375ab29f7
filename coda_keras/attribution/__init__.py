"""Attribution methods under one contract: `method(model, images, class_ids)` gives signed maps.

    occlusion = attribution.get("occlusion", patch_size=9, stride=2)
    maps = occlusion(model, images, class_ids)          # (B, H, W), or (B, n, H, W)

See `Attribution` for the contract, `registry.py` for all methods as data, and docs/attribution.md
for what they compute. The names are in `__init__.pyi`; what they stand for is imported when it is
used, so that the registry alone needs no framework.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
