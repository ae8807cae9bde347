"""Finding the network for a budget: a space of architectures, what each costs, and an evolution over them.

An architecture is a dictionary in the JSON format of LitePose's authors (`models.litepose.arch_from_json`).
"""

from litepose.search.space import SPACES, SearchSpace, space_from_json

__all__ = ["SPACES", "SearchSpace", "space_from_json"]
