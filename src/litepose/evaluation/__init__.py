"""Score a model, or what one once found, on annotated pictures: data are opened, a protocol chosen, people found."""

from litepose.evaluation.data import Data, open_data, read_data
from litepose.evaluation.protocol import GT, PROTOCOLS, choose_protocol, open_boxes
from litepose.evaluation.run import Evaluation, evaluate_model, evaluate_results

__all__ = [
    "GT",
    "PROTOCOLS",
    "Data",
    "Evaluation",
    "choose_protocol",
    "evaluate_model",
    "evaluate_results",
    "open_boxes",
    "open_data",
    "read_data",
]
