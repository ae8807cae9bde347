"""Moving pictures in and out: files, folders of stills, cameras and network streams; people found frame by frame."""

from litepose.video.base import Clip, Source, VideoFrame
from litepose.video.pictures import PictureSequence
from litepose.video.run import FrameResult, predict_video
from litepose.video.sources import open_video
from litepose.video.writing import VideoWriter

__all__ = [
    "Clip",
    "FrameResult",
    "PictureSequence",
    "Source",
    "VideoFrame",
    "VideoWriter",
    "open_video",
    "predict_video",
]
