"""The shipped cost model: what a job costs where nothing of its kind was made on the store yet. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from atlas_core.plan.cost_numbers import DeviceClass, MethodNumbers, cost_numbers
from atlas_core.plan.job_size import ModelSize, Work, dataset_size, model_size


class CostModel:
    """Seconds and bytes of a job on a class of devices."""

    def __init__(self, device: DeviceClass = "cpu") -> None:
        self.numbers = cost_numbers()
        self.device = self.numbers.devices[device]

    def seconds(self, work: Work, model: ModelSize) -> float:
        """Expected seconds of a job in one process with one thread.

        Raises:
            LookupError: A stage that the model does not know.
        """
        stages, size = self.numbers.stages, work.size
        match work.stage:
            case "fetch" if size.generated:
                return size.images * stages.fetch["generated_image"]
            case "fetch":
                return self.bytes(work, model) * stages.fetch["downloaded_byte"]
            case "index":
                return size.images * stages.index["image"]
            case "text_features":
                prompts = work.classes * len(work.config["templates"])
                return stages.text + prompts * self._texts(self.numbers.tokens.prompt, model)
            case "image_features":
                return stages.job + work.views * (self._decode(work) + self._images(model))
            case "pixels":
                return stages.job + work.views * self._decode(work)
            case "tune":
                return stages.job + work.steps * self._step(work, model)
            case "evaluate":
                return stages.job + work.views * self._evaluated_image(work, model)
            case "aggregate":
                return stages.aggregate["seconds"] + len(work.inputs) * stages.aggregate["evaluation"]
            case "csl" | "isl":
                return stages.soft_labels
            case _:
                raise LookupError(f"the cost model knows no stage {work.stage!r}")

    def bytes(self, work: Work, model: ModelSize) -> float:
        """Expected bytes of a job's artifact; of `fetch`, of the dataset that it brings.

        Raises:
            LookupError: A stage that the model does not know.
        """
        stages, size = self.numbers.stages, work.size
        match work.stage:
            case "fetch":
                return size.images * size.image_bytes if size.generated or size.downloaded else 0.0
            case "index":
                return size.images * stages.index["image_bytes"]
            case "text_features":
                each = len(work.config["templates"]) if work.config["keep_each"] else 1
                return 4.0 * work.classes * model.embed_dim * each
            case "image_features":
                return work.views * model.embed_dim * (2.0 if work.config["dtype"] == "float16" else 4.0)
            case "pixels":
                return work.views * 3.0 * int(work.config["image_size"]) ** 2
            case "csl":
                return 4.0 * work.classes**2
            case "isl":
                return 4.0 * work.classes * work.views
            case "tune":
                full = model_size("ViT-B-16")
                share = model.text_width * model.image_width / (full.text_width * full.image_width)
                learned = self._method(work).kilobytes * 1000 * share
                return stages.run_bytes + work.steps * stages.step_bytes + learned
            case "evaluate":
                return work.views * stages.evaluated_image_bytes
            case "aggregate":
                images = sum(_tested_images(role) for role in work.inputs)
                return stages.aggregate["bytes"] + images * stages.aggregate["image_bytes"]
            case _:
                raise LookupError(f"the cost model knows no stage {work.stage!r}")

    def _method(self, work: Work) -> MethodNumbers:
        return self.numbers.methods.get(work.method, self.numbers.other_method)

    def _step(self, work: Work, model: ModelSize) -> float:
        """Seconds of a training step: both towers forward and backward, as far as the method passes them."""
        method, batch = self._method(work), work.config["training"]["batch_size"]
        batch = min(batch, work.config["shots"] * work.classes)
        tokens = self.numbers.tokens.shared + self.numbers.tokens.of_class * work.classes
        texts = method.texts * tokens * (batch if method.each_image else 1)
        speed = _speed(self.device.training, model.text_width)
        seconds = self.device.step + 2 * texts * model.text_operations / speed
        if "pixels" in work.inputs:
            speed = _speed(self.device.training, model.image_width)
            seconds += batch * (self.device.image + 2 * model.image_operations / speed)
        return seconds

    def _evaluated_image(self, work: Work, model: ModelSize) -> float:
        if "pixels" in work.inputs:
            return self._images(model)
        each = self._method(work).each_image
        return self._texts(self.numbers.tokens.of_class * work.classes, model) if each else 0.0

    def _texts(self, tokens: float, model: ModelSize) -> float:
        return tokens * model.text_operations / _speed(self.device.forward, model.text_width)

    def _images(self, model: ModelSize) -> float:
        return model.image_operations / _speed(self.device.forward, model.image_width)

    def _decode(self, work: Work) -> float:
        return self.numbers.stages.decode["generated_image" if work.size.generated else "photograph"]


def _tested_images(evaluation: str) -> float:
    """Images of a test set by an evaluation's name ("evaluate/… on digits/new")."""
    dataset, _, subset = evaluation.rpartition(" on ")[2].partition("#")[0].partition("/")
    return dataset_size(dataset).test_images_of(subset)


def _speed(by_width: Mapping[int, float], width: int) -> float:
    """Operations a second at a width: between two that are known, on a line of the logarithms."""
    known = sorted(by_width)
    for low, high in pairwise(known):
        if low < width <= high:
            part = math.log(width / low) / math.log(high / low)
            return float(1e9 * by_width[low] * (by_width[high] / by_width[low]) ** part)
    return 1e9 * by_width[min(max(width, known[0]), known[-1])]
