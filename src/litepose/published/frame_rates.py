"""Frames a second that the authors of LPN drew: zhang943/lpn-pytorch@f397525, figures/speed.png.

Read from the picture, +-0.05: an i7-8700K, one crop at a time, flip test (two passes) included. Model and input (w, h)
-> frames a second. Its accuracies stand with the families.
"""

MACHINE = "i7-8700K, flip test"
FRAME_RATES: dict[tuple[str, tuple[int, int]], float] = {
    ("lpn_50", (192, 256)): 17.0,
    ("lpn_101", (192, 256)): 14.0,
    ("lpn_152", (192, 256)): 11.2,
    ("simplebaseline_50", (192, 256)): 9.6,
    ("simplebaseline_101", (192, 256)): 6.6,
    ("simplebaseline_152", (192, 256)): 5.0,
    ("hrnet_w32", (192, 256)): 6.2,
    ("hrnet_w48", (192, 256)): 3.85,
    ("simplebaseline_50", (288, 384)): 4.3,
    ("simplebaseline_101", (288, 384)): 2.9,
    ("simplebaseline_152", (288, 384)): 2.15,
    ("hrnet_w32", (288, 384)): 2.65,
    ("hrnet_w48", (288, 384)): 1.6,
}
