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

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from pretraining_world import ANY, Facts, Pair, draw_pair, write_caption
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).resolve().parent
MAX_TOKENS = 24
MAX_LOGIT_SCALE = math.log(100)


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
    """open_clip's text tower on captions cut to `MAX_TOKENS`; exact, since its attention is causal."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    pooled = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return pooled @ model.text_projection


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
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6)


def save(model: torch.nn.Module, out: Path, facts: dict[str, str]) -> None:
    """Write the weights as float16 with the training's settings in the header."""
    state = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, out, metadata=facts)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng, generator = np.random.default_rng(args.seed), torch.Generator().manual_seed(args.seed)
    config = json.loads((HERE / "demo_clip.json").read_text())
    model, tokenizer = open_clip.CLIP(**config), open_clip.SimpleTokenizer()
    started = time.monotonic()
    pool = render_pool(args.pool, args.seed, args.threads)
    print(f"pool of {args.pool} images in {time.monotonic() - started:.0f} s", flush=True)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    optimizer = optimizer_for(model, args.rate)
    tokens_of: dict[str, Tensor] = {}
    started, order = time.monotonic(), np.empty(0, dtype=np.int64)
    for step in range(args.steps):
        if len(order) < args.batch:
            order = rng.permutation(args.pool)
        chosen, order = order[: args.batch], order[args.batch :]
        captions, said = zip(*(write_caption(rng, pool.kinds[i], pool.facts[i]) for i in chosen), strict=True)
        for caption in captions:
            if caption not in tokens_of:
                tokens_of[caption] = tokenizer([caption])[0, :MAX_TOKENS]
        tokens = torch.stack([tokens_of[caption] for caption in captions])
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        facts = torch.tensor([pool.facts[i].row() for i in chosen])
        positives = true_captions(facts, torch.tensor([s.row() for s in said]))
        rows = torch.from_numpy(chosen)
        pixels = (augment(pool.pixels[rows], pool.flips[rows], generator) - mean) / std
        rate = args.rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        scale = model.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
        loss = contrastive_loss(model.encode_image(pixels), encode_text(model, tokens), scale, positives)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        if step % 50 == 49 or step + 1 == args.steps:
            spent = time.monotonic() - started
            left = spent / (step + 1) * (args.steps - step - 1)
            progress = f"loss {loss.item():.3f} scale {scale.item():.1f} left {left:.0f} s"
            print(f"step {step + 1}/{args.steps} {progress}", flush=True)
        if args.keep_every and (step + 1) % args.keep_every == 0:
            save(model, args.out, {"seed": str(args.seed), "steps": str(step + 1), "batch": str(args.batch)})
    save(model, args.out, {"seed": str(args.seed), "steps": str(args.steps), "batch": str(args.batch)})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "demo_clip.safetensors")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pool", type=int, default=60000, help="images to draw before training")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-every", type=int, default=0, help="also save every so many steps")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
