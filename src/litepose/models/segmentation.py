"""A class for each pixel from Lite-HRNet's finest map.

Yu et al. 2021, "Lite-HRNet", names semantic segmentation; neither code nor configuration of it was ever released. So
the head here is ours and small: a separable convolution at stride 4, a 1x1 convolution to the classes, bilinear x4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.layers import check_input_size
from litepose.models.litehrnet import LiteHRNet, SeparableConv, Trunk, start_weights

UPSCALING = 4.0  # the finest map has stride 4


class Segmenter(nn.Module):
    """Pictures to the logits of classes at each pixel.

    trunk: of a Lite-HRNet (`network.trunk`), fresh or trained for poses; it is used, not copied.
    separable: a depthwise 3x3 and a 1x1 convolution in front of the classifier.
    """

    input_stride = LiteHRNet.input_stride

    def __init__(self, trunk: Trunk, *, num_classes: int, separable: bool = True) -> None:
        super().__init__()
        if num_classes < 2:
            raise SettingError(f"Segmentation needs at least 2 classes, one may be background; found {num_classes!r}.")
        self.mix = SeparableConv(trunk.channels, trunk.channels) if separable else nn.Identity()
        self.classify = nn.Conv2d(trunk.channels, num_classes, 1)
        start_weights(self)
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB, normalised, to (B, num_classes, H, W)."""
        check_input_size(images, self.input_stride)
        refined, _ = self.trunk(images)
        logits = self.classify(self.mix(refined[0]))
        return F.interpolate(logits, scale_factor=UPSCALING, mode="bilinear", align_corners=False)
