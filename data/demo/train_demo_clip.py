"""Train the demo CLIP from scratch on drawn images and their captions, on a CPU.

    python data/demo/train_demo_clip.py --out data/demo/demo_clip.safetensors

The architecture is `demo_clip.json`, an ordinary open_clip model with open_clip's tokenizer; the data is
`pretraining_world.py`. The loss is CLIP's symmetric cross-entropy, except that all captions in the batch that
are true of an image count as its positives ("a fish" is true of every fish, "a red fish" of the red ones): with
some eighty concepts, the plain loss would mostly push equal things apart. Weights are float16 on disk, float32
in use.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pretraining_world import ANY, Facts, Pair, draw_pair, write_caption
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).resolve().parent
MAX_TOKENS = 24
MAX_LOGIT_SCALE = math.log(100)
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)


@dataclass(frozen=True)
class Pool:
    """Rendered images [N,3,48,48] uint8 with their kinds, facts and whether they may be mirrored."""

    pixels: Tensor
    kinds: list[str]
    facts: list[Facts]
    flips: Tensor


def render_pool(size: int, seed: int, workers: int) -> Pool:
    """Draw the pre-training images, once, in `workers` processes."""
    with ProcessPoolExecutor(workers) as executor:
        pairs: list[Pair] = list(executor.map(partial(draw_pair, seed), range(size), chunksize=500))
    pixels = torch.from_numpy(np.stack([pair.image for pair in pairs])).permute(0, 3, 1, 2).contiguous()
    flips = torch.tensor([pair.flips for pair in pairs])
    return Pool(pixels, [pair.kind for pair in pairs], [pair.facts for pair in pairs], flips)


def augment(pixels: Tensor, flips: Tensor, generator: torch.Generator) -> Tensor:
    """Random crops (every second image down to 45 % of its side) and mirror images; [B,3,H,W] in [0,1]."""
    n = len(pixels)
    draw = partial(torch.rand, generator=generator)
    hard = draw(n) < 0.5
    scale = torch.where(hard, 0.45 + 0.55 * draw(n), 0.9 + 0.15 * draw(n))
    slack = (1 - scale).abs()
    mirror = torch.where(flips & (draw(n) < 0.5), -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale * (0.9 + 0.2 * draw(n))
    theta[:, 0, 2], theta[:, 1, 2] = slack * (2 * draw(n) - 1), slack * (2 * draw(n) - 1)
    grid = F.affine_grid(theta, [n, 3, *pixels.shape[2:]], align_corners=False)
    images = pixels.float().div_(255)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def encode_text(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """open_clip's text tower; tokens [B,L] may be cut to any L that holds them, since its attention is causal."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    pooled = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
    features: Tensor = pooled @ model.text_projection
    return features


def encode_captions(model: open_clip.CLIP, rows: list[Tensor]) -> Tensor:
    """Features [B,D] of captions' tokens: each different caption once, short and long ones apart."""
    tokens, inverse = torch.unique(torch.stack(rows), dim=0, return_inverse=True)
    lengths = (tokens != 0).sum(1)
    order = lengths.argsort(stable=True)
    parts = order.tensor_split([3 * len(order) // 4])
    features = torch.cat([encode_text(model, tokens[part, : int(lengths[part].max())]) for part in parts])
    return features[order.argsort()[inverse]]


def true_captions(facts: Tensor, said: Tensor) -> Tensor:
    """[B,B] bool: entry (i, j) says that caption j is true of image i. Both are [B,4] rows of facts."""
    return ((said[None] == ANY) | (said[None] == facts[:, None])).all(dim=-1)


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, positives: Tensor) -> Tensor:
    """CLIP's loss with several positives a row and a column, each with an equal share of the target."""
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    weights = positives.float()
    rows, columns = weights / weights.sum(1, keepdim=True), weights.T / weights.T.sum(1, keepdim=True)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, columns)) / 2


def optimizer_for(model: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW that decays matrices, but not gains, biases, positions or the token table (mostly unseen)."""
    exempt = ("embedding", "logit_scale")
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and not any(e in n for e in exempt)]
    kept = [p for n, p in model.named_parameters() if p.ndim < 2 or any(e in n for e in exempt)]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


class Run:
    """Everything that changes from step to step: the model, its optimizer and all random streams."""

    def __init__(self, config: dict[str, Any], seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.model = open_clip.CLIP(**config)
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.optimizer = optimizer_for(self.model, rate)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.order = np.empty(0, dtype=np.int64)
        self.step = 0

    def save_state(self, path: Path) -> None:
        """Write what `load_state` needs to go on as if nothing had happened."""
        partial_file = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "rng": json.dumps(self.rng.bit_generator.state),
                "order": torch.from_numpy(self.order.copy()),
                "step": self.step,
            },
            partial_file,
        )
        partial_file.replace(path)

    def load_state(self, path: Path) -> None:
        """Go on where a run with the same settings was broken off."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.average, self.order, self.step = state["average"], state["order"].numpy(), state["step"]

    def save_weights(self, out: Path, facts: dict[str, str]) -> None:
        """Write the averaged weights as float16 with the training's settings in the header."""
        names = [name for name, _ in self.model.named_parameters()]
        state = {n: t.half().contiguous() for n, t in zip(names, self.average, strict=True)}
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, out, metadata={**facts, "step": str(self.step)})

    def choose(self, pool_size: int, batch: int) -> NDArray[np.int64]:
        """The next images of the current pass over the pool."""
        if len(self.order) < batch:
            self.order = self.rng.permutation(pool_size)
        chosen, self.order = self.order[:batch], self.order[batch:]
        return chosen


class Captions:
    """Captions' tokens [MAX_TOKENS], tokenized once."""

    def __init__(self) -> None:
        self._tokenizer, self._known = open_clip.SimpleTokenizer(), dict[str, Tensor]()

    def tokens(self, caption: str) -> Tensor:
        if caption not in self._known:
            self._known[caption] = self._tokenizer([caption])[0, :MAX_TOKENS]
        return self._known[caption]


def take_step(run: Run, pool: Pool, captions: Captions, args: argparse.Namespace) -> float:
    """One batch, one update; returns the loss."""
    chosen = run.choose(len(pool.kinds), args.batch)
    texts, said = zip(*(write_caption(run.rng, pool.kinds[i], pool.facts[i]) for i in chosen), strict=True)
    facts = torch.tensor([pool.facts[i].row() for i in chosen])
    positives = true_captions(facts, torch.tensor([s.row() for s in said]))
    rows = torch.from_numpy(chosen)
    pixels = (augment(pool.pixels[rows], pool.flips[rows], run.generator) - MEAN) / STD
    warm_up = min(1.0, (run.step + 1) / 100)
    for group in run.optimizer.param_groups:
        group["lr"] = args.rate * warm_up * 0.5 * (1 + math.cos(math.pi * run.step / args.steps))
    model = run.model
    text = encode_captions(model, [captions.tokens(text) for text in texts])
    scale = model.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
    loss = contrastive_loss(model.encode_image(pixels), text, scale, positives)
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    # An exponential average over about the last tenth of the run, so that any checkpoint is a usable model.
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        share = max(1 / run.step, 1 / min(run.step / 10 + 1, args.average))
        torch._foreach_lerp_(run.average, [p.detach() for p in model.parameters()], share)
    return loss.item()


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    run = Run(json.loads((HERE / "demo_clip.json").read_text()), args.seed, args.rate)
    state = args.out.with_suffix(".state")
    if state.exists():
        run.load_state(state)
        print(f"going on from step {run.step} ({state})", flush=True)
    started = time.monotonic()
    pool = render_pool(args.pool, args.seed, args.threads)
    print(f"pool of {args.pool} images in {time.monotonic() - started:.0f} s", flush=True)
    facts = {name: str(getattr(args, name)) for name in ("seed", "steps", "batch", "pool", "rate")}
    started, first, captions = time.monotonic(), run.step, Captions()
    while run.step < args.steps:
        loss = take_step(run, pool, captions, args)
        if run.step % 50 == 0 or run.step == args.steps:
            left = (time.monotonic() - started) / (run.step - first) * (args.steps - run.step)
            scale = run.model.logit_scale.exp().item()
            progress = f"loss {loss:.3f} scale {scale:.1f} left {left:.0f} s"
            print(f"step {run.step}/{args.steps} {progress}", flush=True)
        if run.step % args.keep_every == 0:
            run.save_state(state)
            run.save_weights(args.out, facts)
    run.save_weights(args.out, facts)
    state.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "demo_clip.safetensors")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pool", type=int, default=40000, help="images to draw before training")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--average", type=int, default=100, help="steps the averaged weights look back")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="other numbers give other roundings")
    parser.add_argument("--keep-every", type=int, default=100, help="steps between checkpoints")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
