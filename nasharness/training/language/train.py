"""Training a language model, segment by segment: one object that holds all that the next segment depends on."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributed

from nasharness.errors import UsageError
from nasharness.runs.checkpoint import same_form
from nasharness.training.distributed import World
from nasharness.training.language.data import Corpus, columns
from nasharness.training.language.loss import tied_cross_entropy
from nasharness.training.language.model import LanguageModel, Masks
from nasharness.training.language.optimiser import TextOptimiser
from nasharness.training.language.recipes import TextRecipe
from nasharness.training.watch import LossWatch

#: segments between looks at the loss; a look waits for the GPU
LOOK = 20
#: a mean loss of so many times that of guessing, between two looks, is one that will not come back
DIVERGED = 3.0
#: shortest segment drawn, and how far one may exceed bptt (docs/reproduction/training.md#penn-treebank)
SHORTEST, EXCESS = 5, 20


def segment_length(bptt: int, generator: torch.Generator) -> int:
    """Draw the words of a segment: N(bptt, 5), or with probability 0.05 N(bptt / 2, 5), cut to 5 .. bptt + 20.

    Merity et al., ICLR 2018, section 5 of the regularisations.
    """
    centre = bptt if float(torch.rand((), generator=generator)) < 0.95 else bptt / 2
    drawn = int(centre + 5 * float(torch.randn((), generator=generator)))
    return min(max(SHORTEST, drawn), bptt + EXCESS)


class TextTrainer:
    """The state of a run between two segments.

    Args:
        model: on its device.
        corpus: what it learns.
        recipe: how.
        seed: of dropout and of segment lengths.
        world: this process's place; ``recipe.batch`` streams are shared out evenly. All processes draw the same masks
            for all streams, so that the outcome does not depend on their number, but for rounding.
        dtype: of the products.

    Raises:
        UsageError: the streams cannot be shared out evenly.
        DataError: the text is too short.
    """

    def __init__(
        self,
        model: LanguageModel,
        corpus: Corpus,
        recipe: TextRecipe,
        *,
        seed: int,
        world: World,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if recipe.batch % world.size:
            raise UsageError(f"--batch {recipe.batch} streams cannot be shared by {world.size} processes evenly")
        self.model, self.recipe, self.world, self.dtype = model, recipe, world, dtype
        share = recipe.batch // world.size
        self.mine = slice(world.rank * share, (world.rank + 1) * share)
        text = columns(corpus.train, recipe.batch)
        self.text = text[:, self.mine].to(world.device)
        self.optimiser = TextOptimiser(model, recipe, recipe.epochs * max(1.0, (len(text) - 1) / recipe.bptt))
        self.lengths = torch.Generator().manual_seed(2 * seed)
        self.masks = torch.Generator(world.device).manual_seed(2 * seed + 1)
        self.watch = LossWatch(world, model.words, factor=DIVERGED, perplexity=True)
        self.epoch = self.segments = 0
        self.seen = math.nan
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Go to the beginning of the text, with an empty state."""
        self.position = 0
        self.state = self.model.start(self.text.shape[1])
        self.total = torch.zeros((), dtype=torch.float64, device=self.text.device)

    @property
    def words(self) -> int:
        """Words of the epoch that were targets so far, in all processes."""
        return self.position * self.recipe.batch

    @property
    def epoch_words(self) -> int:
        """Words that are targets in an epoch."""
        return (len(self.text) - 1) * self.recipe.batch

    @property
    def finished(self) -> bool:
        """Whether the epoch's text is at its end."""
        return self.position >= len(self.text) - 1

    def lr(self) -> float:
        """Return the learning rate of the next segment, if it has ``bptt`` words."""
        return self.optimiser.rate(self.segments)

    def step(self) -> None:
        """Learn from the next segment.

        Raises:
            Diverged: the loss is not finite, or far above that of guessing (looked at every :data:`LOOK` segments, and
                at an epoch's end).
        """
        recipe = self.recipe
        length = segment_length(recipe.bptt, self.lengths) if recipe.jitter else recipe.bptt
        length = min(length, len(self.text) - 1 - self.position)
        inputs = self.text[self.position : self.position + length]
        targets = self.text[self.position + 1 : self.position + 1 + length]
        masks = Masks.draw(recipe, self.model.words, self.masks, self.model.layers).streams(self.mine)
        self.model.zero_grad(set_to_none=True)
        raw, state = self.model(inputs, self.state, masks)
        dropped = raw if masks.output is None else raw * masks.output
        loss = tied_cross_entropy(
            dropped.flatten(0, 1), self.model.embedding, self.model.bias, targets.flatten(), dtype=self.dtype
        )
        (loss + penalty(raw, dropped, recipe)).backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        lr = self.lr() * length / recipe.bptt
        self.optimiser.step(lr)
        self.state = state.detach()
        self.total += loss.detach().double() * targets.numel()
        self.position += length
        self.segments += 1
        self.watch.add(loss)
        if self.segments % LOOK == 0 or self.finished:
            self.look()

    def look(self) -> None:
        """Wait for the losses so far and check them; all processes call it together.

        Raises:
            Diverged: as :meth:`step`.
        """
        self.watch.look(self.segments, self.epoch + 1, self.lr())
        if self.position:
            self.seen = self.train_loss()

    def train_loss(self) -> float:
        """Return the mean loss of the epoch so far, nats a word, under dropout and without penalties."""
        return float(self.world.total(self.total.cpu())) / max(1, self.words)

    def _share_gradients(self) -> None:
        if self.world.size == 1:
            return
        grads = [weight.grad for weight in self.optimiser.parameters if weight.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        distributed.all_reduce(flat)
        flat /= self.world.size
        for grad, part in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on, of all streams; every process must call it.

        Raises:
            Diverged: as :meth:`step`: what has diverged is not worth keeping.
        """
        self.look()
        state = self.state
        total = self.world.total(self.total.cpu())
        if self.world.size > 1:
            parts = [torch.empty_like(state) for _ in range(self.world.size)]
            distributed.all_gather(parts, state.contiguous())
            state = torch.cat(parts)
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "lengths": self.lengths.get_state(),
            "masks": self.masks.get_state(),
            "state": state,
            "total": float(total),
            "epoch": self.epoch,
            "segments": self.segments,
            "position": self.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave, also with another number of processes."""
        same_form(state, self.state_dict() | {"optimiser": {}})
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.lengths.set_state(state["lengths"].cpu())
        self.masks.set_state(state["masks"].cpu())
        self.state = state["state"][self.mine].to(self.text.device)
        self.total.fill_(state["total"] if self.world.main else 0.0)  # the sum of all processes, kept by one
        self.epoch, self.segments, self.position = (int(state[key]) for key in ("epoch", "segments", "position"))


def penalty(raw: Tensor, dropped: Tensor, recipe: TextRecipe) -> Tensor:
    """Return AR, alpha mean(dropped^2), plus TAR, beta mean((change of raw in time)^2), of ``[time, batch, width]``.

    Merity et al., Revisiting activation regularization for language RNNs, 2017; as in
    docs/reproduction/training.md#penn-treebank, TAR is of the raw outputs. Where a segment has one word, TAR is 0.
    """
    total = raw.new_zeros(())
    if recipe.alpha:
        total = total + recipe.alpha * dropped.square().mean()
    if recipe.beta and len(raw) > 1:
        total = total + recipe.beta * (raw[1:] - raw[:-1]).square().mean()
    return total
