"""Learn which pixels are people, from people drawn by litepose: python segmentation.py STEPS (300 show something)"""

import sys

import numpy as np
import torch

from litepose import images, models
from litepose.datasets.synthetic import SyntheticPeople
from litepose.losses import segmentation_loss
from litepose.metrics.miou import IGNORED, confusion, mean_iou
from litepose.models.segmentation import Segmenter
from litepose.predictor import normalise
from litepose.spec import InputSpec

if len(sys.argv) < 2:
    print("usage: python segmentation.py STEPS", file=sys.stderr)
    sys.exit(2)
steps, size, rng = int(sys.argv[1]), (128, 128), np.random.default_rng(0)


def batch(samples):  # pictures (B, 3, H, W); labels (B, H, W): 0 background, 1 person
    labels = [np.any([np.zeros(size[::-1]), *sample.person_masks], axis=0).astype(np.int64) for sample in samples]
    return torch.tensor(np.stack([normalise(sample.image, InputSpec(size)) for sample in samples])), np.stack(labels)


network = Segmenter(models.build("litehrnet_naive_18", num_keypoints=17).trunk, num_classes=2)
optimizer = torch.optim.AdamW(network.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
scenes, unseen = (SyntheticPeople(size, (1, 3), seed=seed) for seed in (0, 1))
for step in range(steps):
    pictures, labels = batch([scenes[i] for i in range(8 * step, 8 * step + 8)])
    labels[(labels == 0) & (rng.random(labels.shape) < 0.8)] = IGNORED  # most is background: learn from a part of it
    segmentation_loss(network(pictures), torch.from_numpy(labels)).backward()
    optimizer.step(), schedule.step(), optimizer.zero_grad()
pictures, labels = batch([unseen[i] for i in range(32)])
found = network.eval()(pictures).argmax(dim=1).numpy()
stats = mean_iou(confusion(labels, found, 2))
print(f"mIoU {stats.mean:.3f} on 32 scenes not trained on (people {stats.per_class[1]:.3f})")
images.write("segmentation.png", np.where(found[0, ..., None] == 1, unseen[0].image, unseen[0].image // 4))
