"""A window that shows frames as they come, until q, Esc or its close button."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np

from litepose.errors import SettingError

TITLE = "litepose"
END_KEYS = (27, ord("q"))


class Window:
    """Shows drawn frames; a call returns whether to go on. Raises SettingError where no window can be opened."""

    def __init__(self) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SettingError(
                "--show opens a window, and there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set). Leave it "
                "out and look at the file that -o names."
            )
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)  # without Qt's tools
        except cv2.error as error:
            raise SettingError(
                f"--show opens a window, which this OpenCV ({cv2.__version__}) cannot: it is built without. Replace "
                "it: pip uninstall opencv-python-headless && pip install opencv-python. Or leave --show out."
            ) from error
        self._shown = False

    def __call__(self, image: np.ndarray) -> bool:
        if not self._shown:
            cv2.resizeWindow(TITLE, image.shape[1], image.shape[0])
            self._shown = True
        cv2.imshow(TITLE, image)
        if cv2.waitKey(1) & 0xFF in END_KEYS:
            return False
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Take the window away."""
        cv2.destroyWindow(TITLE)
