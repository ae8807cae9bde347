"""The way back from our tensor names to the LitePose authors'.

Written apart from `OFFICIAL_KEYS`, so that an error there does not cancel out.
"""

from __future__ import annotations


def authors_name(ours: str) -> str:
    """Return what mit-han-lab/litepose calls one of our tensors."""
    parts = ours.split(".")
    leaf = parts[-1]
    slot = {"conv": "0", "norm": "1", "pointwise": "3"}.get(parts[-2], "")
    if parts[0] == "stem" and parts[1] == "2":  # the last stem convolution is not wrapped
        return f"first.{ {'conv': 2, 'norm': 3}[parts[2]] }.{leaf}"
    if parts[0] == "stem":
        return f"first.{parts[1]}.{slot}.{leaf}"
    if parts[0] == "stages":
        part = {"expand": "inv", "depthwise": "depth_conv", "project": "point_conv"}[parts[3]]
        return f"stage.{parts[1]}.{parts[2]}.{part}.{slot}.{leaf}"
    if parts[0] == "deconvs":
        return f"deconv_bnrelu.{parts[1]}.0.{leaf}" if parts[2] == "norm" else f"deconv_{parts[2]}.{parts[1]}.{leaf}"
    return f"final_{parts[2]}.{parts[1]}.conv.{slot}.{leaf}"
