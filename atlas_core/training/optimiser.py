"""Optimiser and learning-rate schedule of the published trainers (protocol, section 1.0)."""

from __future__ import annotations

import math

import torch
from torch import nn

from atlas_core.training.recipe import Recipe


def learning_rate(recipe: Recipe, base: float, epoch: int) -> float:
    """Learning rate in a 0-based epoch.

    Constant `warmup_lr` during warm-up, then `base·½(1 + cos(π(e − w)/T))` for epoch e, w warm-up epochs and T
    epochs in all: the cosine starts at the full rate after the warm-up and never reaches zero, as published.
    """
    if epoch < recipe.warmup_epochs:
        return recipe.warmup_lr
    return base * 0.5 * (1 + math.cos(math.pi * (epoch - recipe.warmup_epochs) / recipe.epochs))


def build_optimiser(method: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or Adam over the method's learned parameters, one group for each distinct learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(base_rate(recipe, name), []).append(parameter)
    parameters = [{"params": each, "lr": rate, "base_lr": rate} for rate, each in groups.items()]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, eps=recipe.adam_eps, foreach=False
        )
    return torch.optim.SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
    )


def base_rate(recipe: Recipe, parameter_name: str) -> float:
    """The learning rate that a parameter's schedule starts from (`parameter_lr` by name prefix, else `lr`)."""
    for prefix, rate in recipe.parameter_lr.items():
        if parameter_name.startswith(prefix):
            return rate
    return recipe.lr


def set_learning_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> float:
    """Set every group's rate for a 0-based epoch; returns the rate of the main group."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, group["base_lr"], epoch)
    return learning_rate(recipe, recipe.lr, epoch)
