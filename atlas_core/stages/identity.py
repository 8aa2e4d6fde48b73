"""What stands in a key without being read by the stage's computation, each with its reason; everything else is read.

`tests/stages/test_keys_are_read.py` changes every field of every stage's configuration and every input, and sees the
output change or finds the field here.
"""

from __future__ import annotations

from collections.abc import Mapping

_COST = "says how a result is computed, which changes its time and memory, and the result by rounding alone"
_PREPARED = "is read when the study is planned: what it asks for comes as the input `reference`"

# Stage, or stage and method → field of the configuration ("options.text_chunk") or input ("inputs.fetch") → reason.
IDENTITY_ONLY: Mapping[str, Mapping[str, str]] = {
    "fetch": {
        "folder": "says where the files are: a dataset that is moved is fetched, or adopted, anew with an equal result",
    },
    "index": {
        "inputs.fetch": "says where the files came from; what is read is the folder, whose listing is in the key too",
    },
    "text_features": {
        "backbone": "is the digest of the weights and settings that are read from the study's files",
        "sentences_sha256": "is the digest of the file that is read",
    },
    "image_features": {
        "backbone": "is the digest of the weights and settings that are read from the study's files",
    },
    "tune": {
        "backbone": "is the digest of the weights and settings that are read from the study's files",
        "dataset": "names the run in tables; its images and classes are inputs",
        "subset": "names the run in tables; its images and classes are inputs",
        "shots": "names the run in tables; its images are inputs",
        "supervision.name": "names the run in tables; source and period say what is trained",
        "supervision.temperature": "names the run in tables; the soft labels made with it are inputs",
        "options.text_chunk": _COST,
        "options.prediction_chunk": _COST,
        "options.gradient_checkpointing": _COST,
    },
    "tune/prograd": {"options.ctx_init": "comes with CoOp's options; ProGrad starts from its template"},
    "tune/vpt": {"options.template": _PREPARED},
    "tune/zero_shot": {
        "options.prompts": _PREPARED,
        "options.own_template": _PREPARED,
        "seed": "is 0: nothing is drawn",
        "training": "is of no use to a method that learns nothing",
        "templates": _PREPARED,
    },
    "tune/kgcoop": {"templates": _PREPARED},
    "tune/dept_kgcoop": {"templates": _PREPARED},
    "aggregate": {"inputs": "are read from the store, by the keys that the plan lists beside the digests"},
}


def reason(stage: str, method: str, field: str) -> str | None:
    """Why a field, or the whole mapping that it stands in, is identity only; None where it is read."""
    places = [IDENTITY_ONLY.get(stage, {}), IDENTITY_ONLY.get(f"{stage}/{method}", {})]
    fields = [field, field.partition(".")[0]]
    return next((place[each] for place in places for each in fields if each in place), None)
