"""What `kn_thesis.edit` must refuse: what is changed in a good call, and what the one line says."""

from __future__ import annotations

from typing import Any

import torch

from kn_thesis.editing.covariance import Covariance

BAD: list[tuple[dict[str, Any], str]] = [
    ({"subject": "Spain"}, "the subject 'Spain' is not .* the prompt 'The old man admires"),
    ({"subject": "ma"}, "the subject 'ma' is not .* the prompt"),
    ({"subject": " "}, "the subject is empty"),
    ({"subject": 3}, "subject is 3: give a text"),
    ({"target": ""}, "'' cannot fill the blank of the prompt 'The old man admires.*': no word for the gap; change"),
    ({"target": "  "}, "'' cannot fill the blank"),
    ({"old": " "}, "'' cannot fill the blank"),
    ({"old": ""}, "'' cannot fill the blank"),
    ({"target": None}, "target is None: give a text"),
    ({"editor": "romes"}, "unknown editor 'romes': choose one of rome, knowledge_neuron, fine_tuning"),
    (
        {"prompt": "The old man\nadmires ___ or ___."},
        r"the prompt 'The old man\\nadmires .*': more than one gap; write",
    ),
    ({"prompt": f"The old man {'and this ' * 20}admires ___"}, "prompt is too long; change"),
    ({"colour": 3}, "has no setting 'colour': choose of .*batch_"),
    ({"paraphrases": "This man admires"}, "paraphrases"),
    ({"editor": "knowledge_neuron", "paraphrases": "This man admires"}, "paraphrases is a list of texts: put a single"),
    (
        {"editor": "knowledge_neuron", "layer": 1},
        "knowledge_neuron has no setting 'layer': choose of old_factor, new",
    ),
    ({"editor": "knowledge_neuron", "shared": 0.5}, "knowledge_neuron has no setting 'shared'"),
    ({"editor": "knowledge_neuron", "contexts": ["A."]}, "knowledge_neuron uses no contexts: leave it out"),
    ({"editor": "knowledge_neuron", "share": 1.5}, "share is 1.5: give a number, 0 or more, 1 at most"),
    ({"editor": "knowledge_neuron", "coarse": -0.5}, "coarse is -0.5: give a number, 0 or more"),
    ({"editor": "knowledge_neuron", "coarse": 1.0}, "coarse must be at least 0 and below 1"),
    ({"editor": "knowledge_neuron", "share": 1.0}, "share must be at least 0 and below 1"),
    ({"editor": "knowledge_neuron", "nodes": 0}, "nodes is 0: give a whole number, 1 or more"),
    ({"editor": "knowledge_neuron", "quadrature": 3}, "quadrature is 3: give a text, such as 'gauss-legendre'"),
    ({"editor": "knowledge_neuron", "quadrature": "x"}, "x"),
    ({"editor": "knowledge_neuron", "old_factor": 0, "new_factor": 0}, "no weight changes; take more steps"),
]
BAD_CAUSAL: list[tuple[dict[str, Any], str]] = [
    ({"layer": 3}, "layer 3 is not there: the model has layers 0 to 2"),
    ({"layer": -1}, "layer -1 is not there: the model has layers 0 to 2"),
    ({"layer": 1.0}, r"layer is 1\.0: give a whole number, 0 or more"),
    ({"layer": 17, "editor": "fine_tuning"}, "layer 17 is not there"),
    ({"steps": 0}, "steps is 0: give a whole number, 1 or more"),
    ({"steps": True}, "steps is True: give a whole number"),
    ({"steps": 2.5}, r"steps is 2\.5: give a whole number"),
    ({"steps": "many", "editor": "fine_tuning"}, "steps is 'many': give a whole number"),
    ({"steps": 1}, "no weight changes; take more steps"),
    ({"steps": 1, "editor": "fine_tuning"}, "no weight changes; take more steps"),
    ({"learning_rate": -0.5}, "learning_rate is -0.5: give a number, above 0, 10 at most"),
    ({"learning_rate": 0}, "learning_rate is 0: give a number, above 0"),
    ({"learning_rate": 1e30}, r"learning_rate is 1e\+30: give a number, above 0, 10 at most"),
    ({"learning_rate": float("nan")}, "learning_rate is nan: give a number"),
    ({"learning_rate": "fast"}, "learning_rate is 'fast': give a number"),
    ({"norm": 0.0, "editor": "fine_tuning"}, r"norm is 0\.0: give a number, above 0"),
    ({"weight_decay": -1.0}, r"weight_decay is -1\.0: give a number, 0 or more"),
    ({"clamp": 0.0}, "clamp is 0.0: give a number, above 0"),
    (
        {"weight_decay": 1e308, "clamp": 1e300},
        "rome: 'The old man admires' → 'those': the optimisation diverged; lower",
    ),
    ({"token": "first"}, "unknown token 'first': choose one of subject_last, last"),
    ({"subject": "vases", "prompt": "The old man admires ___."}, "'vases' is not before the blank of the prompt"),
    ({"prompt": "The ___ old man admires"}, "the prompt 'The ___ old man admires': gap is not at the end; write it"),
    ({"contexts": "A king."}, "contexts is a list of texts, or of pairs"),
    ({"contexts": [(5, 0)]}, "contexts is a list of texts, or of pairs"),
    ({"contexts": [(5, 1), "A king."]}, "contexts is a list of texts, or of pairs"),
    ({"contexts": ["A."], "editor": "fine_tuning"}, "fine_tuning uses no contexts: leave it out"),
    ({"paraphrases": ["This man admires"]}, "rome uses no paraphrases: leave them out"),
    ({"covariance": Covariance({}, 9), "editor": "fine_tuning"}, "fine_tuning uses no covariance: leave it out"),
    ({"covariance": Covariance({0: torch.eye(24)}, 9)}, "the covariance of layer 1 was not collected"),
    ({"covariance": Covariance({1: torch.eye(7)}, 9)}, "the covariance is of 7 neurons, the model has 24"),
    ({"covariance": Covariance({1: torch.ones(24, 24)}, 9)}, "the covariance is singular; collect it from more tokens"),
    ({"covariance": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
]
