"""Moving pictures in and out: files, folders of stills, cameras and network streams; people found frame by frame."""

from litepose.video.base import Clip, Source, VideoFrame
from litepose.video.pictures import PictureSequence
from litepose.video.run import Drawing, FrameResult, draw_video, predict_video
from litepose.video.sources import open_video
from litepose.video.writing import VideoWriter

__all__ = [
    "Clip",
    "Drawing",
    "FrameResult",
    "PictureSequence",
    "Source",
    "VideoFrame",
    "VideoWriter",
    "draw_video",
    "open_video",
    "predict_video",
]
