"""How good found people are, measured against annotated ones: `coco` (AP, AR) and `pck`."""
