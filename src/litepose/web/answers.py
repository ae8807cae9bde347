"""What the HTTP API answers, as OpenAPI describes it: the fields of litepose's own JSON (see `writers`)."""

from __future__ import annotations

from pydantic import BaseModel, Field

Keypoint = list[float]


class Person(BaseModel):
    """One person. `keypoints` is in the order of the answer's list of names; score 0 = not found."""

    score: float
    box: list[float] = Field(description="x1, y1, x2, y2 in picture pixels", min_length=4, max_length=4)
    keypoints: list[Keypoint] = Field(description="[x, y, score] each, picture pixels")


class Picture(BaseModel):
    """The people of one picture, best first."""

    file: str
    width: int
    height: int
    people: list[Person]


class SkeletonFacts(BaseModel):
    """Which keypoints belong together."""

    name: str
    limbs: list[list[str]]


class People(BaseModel):
    """The people of all pictures of a request, in their order."""

    format: str
    version: int
    model: str
    skeleton: SkeletonFacts
    keypoints: list[str]
    units: str
    pictures: list[Picture]


class Model(BaseModel):
    """A model that can be asked for by its name."""

    name: str
    skeleton: str
    keypoints: list[str]
    input_size: list[int] = Field(description="width, height")
    top_down: bool = Field(description="whether it looks at one person at a time")


class Health(BaseModel):
    """Whether the server takes requests."""

    status: str
    version: str
    waiting: int = Field(description="requests that compute or wait now")
    places: int = Field(description="how many may")


class Problem(BaseModel):
    """Why there is no better answer."""

    error: str
