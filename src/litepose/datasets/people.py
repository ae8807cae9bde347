"""Quick."""

from dataclasses import replace
import numpy as np


class People:
    def __init__(self, dataset):
        self.dataset, self.skeleton, self.name = dataset, dataset.skeleton, dataset.name
        rows = []
        for i in range(len(dataset)):
            s = dataset[i]
            for p in range(len(s)):
                b = s.boxes[p]
                if (s.keypoints[p, :, 2] > 0).sum() >= 3 and b[2] - b[0] > 8 and b[3] - b[1] > 8:
                    rows.append((i, p))
        self.rows = np.array(rows)

    @property
    def ids(self):
        return [tuple(r) for r in self.rows.tolist()]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, k):
        i, p = self.rows[k]
        s = self.dataset[int(i)]
        one = slice(p, p + 1)
        return replace(
            s,
            keypoints=s.keypoints[one],
            boxes=s.boxes[one],
            areas=s.areas[one],
            keypoint_weights=None if s.keypoint_weights is None else s.keypoint_weights[one],
            person_masks=None,
        )
