"""Proxy training of a recurrent cell on text (docs/reproduction/autoshrink.md#recurrent-search)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nasharness.errors import DataError, UsageError
from nasharness.nets.fused_rnn import FusedCell
from nasharness.nets.shrinkrnn import Recurrence, RecurrentNet
from nasharness.spaces.shrink import Graph
from nasharness.training.device import guarded
from nasharness.training.language.data import END, Corpus, columns
from nasharness.training.language.loss import tied_cross_entropy
from nasharness.training.proxy_search.randomness import seed_of
from nasharness.training.proxy_search.settings import TextSettings
from nasharness.training.proxy_search.shrink import Job, Outcome

#: A loss of this many nats a word, more than any network that learns has, counts as divergence.
DIVERGED = 30.0


@dataclass
class TextProxy:
    """What a training needs; can be sent to another process. ``train``, ``val``: tokens int64 ``[n]``."""

    settings: TextSettings
    seed: int
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    words: int
    device: str
    note: str

    quality = "perplexity"

    @property
    def unit(self) -> str:
        """What ``cost`` counts."""
        return "MACs a word" if self.settings.cost == "macs" else "edges x width squared"

    @classmethod
    def make(cls, corpus: Corpus, settings: TextSettings, seed: int, device: str) -> TextProxy:
        """Take the first lines of each part. Raises UsageError where they are too short for the streams."""
        end = corpus.vocabulary.words.index(END)
        train = _head(corpus.train, end, settings.train_lines)
        val = _head(corpus.valid, end, settings.eval_lines)
        test = _head(corpus.test, end, settings.eval_lines)
        # the vocabulary is that of all three parts, as the official code's; the test text is used for nothing else
        used = np.unique(np.concatenate([train, val, test]))
        train, val = np.searchsorted(used, train), np.searchsorted(used, val)
        for name, tokens, streams in (("batch", train, settings.batch), ("val_streams", val, settings.val_streams)):
            if len(tokens) // streams < 2:
                raise UsageError(
                    f"{name} = {streams}: {len(tokens):,} words of text do not make as many streams; "
                    f"try --set {name}={max(1, len(tokens) // 20)}"
                )
        note = f"{len(train):,} words train and {len(val):,} judge, of {len(used):,} different ones"
        return cls(settings, seed, train, val, len(used), device, note)

    def cost(self, graph: Graph) -> float:
        """MACs of the cell for one word, or the official count, one edge's at least (autoshrink.md#r4, #r7)."""
        width, edges = self.settings.hidden, len(graph.eligible)
        return 4 * width**2 + 2 * width**2 * edges if self.settings.cost == "macs" else max(1, edges) * width**2

    def params(self, graph: Graph) -> int:
        """Parameters of the proxy network."""
        width = self.settings.hidden
        return self.words * (width + 1) + 4 * width**2 + 2 * width**2 * len(graph.eligible)

    def score(self, value: float, cost: float) -> float:
        """0.25 * (200 - perplexity), less what the cost takes off."""
        return 0.25 * (200 - value) - self.settings.cost_weight * (math.log10(cost) - 6)

    def run(self, job: Job) -> Outcome:
        """Train one network from scratch."""
        with guarded("--jobs, or --set batch"):
            return _Training(self, job).run()


class _Training:
    """One candidate's training."""

    def __init__(self, proxy: TextProxy, job: Job) -> None:
        self.proxy, self.settings = proxy, proxy.settings
        self.device = torch.device(proxy.device)
        seed = seed_of(proxy.seed, job, paired=proxy.settings.paired)
        weights = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng(seed + 1)
        recurrence = Recurrence.of(job.graph)
        net = RecurrentNet(recurrence, proxy.words, self.settings.hidden, cell=FusedCell, generator=weights)
        bound = self.settings.embedding
        with torch.no_grad():
            net.embedding.uniform_(-bound, bound, generator=weights)
        self.net = net.to(self.device)
        self.train = columns(proxy.train, self.settings.batch).to(self.device)
        self.val = columns(proxy.val, self.settings.val_streams).to(self.device)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=self.settings.lr)

    def run(self) -> Outcome:
        began = time.perf_counter()
        curve: list[float] = []
        stopped = ""
        for epoch in range(self.settings.epochs):
            train_loss = self._epoch(epoch)
            loss = self._validate()
            curve.append(loss)
            stopped = self._stop(epoch, curve, train_loss)
            if stopped:
                break
        if self.settings.average:
            last = [math.nan] if stopped.startswith("diverged") else curve[-self.settings.average :]
        else:  # the best epoch stays what it was, whatever came after it
            last = [min((one for one in curve if one < DIVERGED), default=math.nan)]
        value = math.exp(math.fsum(last) / len(last))
        perplexities = tuple(math.exp(one) if one < DIVERGED else math.nan for one in curve)
        return Outcome(value, perplexities, stopped, time.perf_counter() - began)

    def _epoch(self, epoch: int) -> float:
        """Train one epoch; return the mean loss of a word, nats."""
        epochs = self.settings.epochs
        rate = self.settings.lr * 0.1 ** ((epoch >= round(0.7 * epochs)) + (epoch >= round(0.9 * epochs)))
        state = self._zero(self.train)
        total, words, place = torch.zeros((), device=self.device), 0, 0
        while place < len(self.train) - 1:
            long = self.rng.random() < 0.95
            length = min(self.settings.bptt if long else max(1, self.settings.bptt // 2), len(self.train) - 1 - place)
            loss, state = self._loss(self.train, place, length, state)
            for group in self.optimiser.param_groups:
                group["lr"] = rate * length / self.settings.bptt
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip)
            self.optimiser.step()
            total += loss.detach() * length
            words, place = words + length, place + length
        return float(total) / words

    @torch.no_grad()
    def _validate(self) -> float:
        """Mean loss of a word of the judging text, nats, from a state of zero; what divides it: autoshrink.md#r5."""
        state = self._zero(self.val)
        total, place, rows = 0.0, 0, len(self.val)
        while place < rows - 1:
            length = min(self.settings.bptt, rows - 1 - place)
            loss, state = self._loss(self.val, place, length, state)
            total, place = total + float(loss) * length, place + length
        return total / (rows if self.settings.divisor == "rows" else rows - 1)

    def _loss(self, text: Tensor, place: int, length: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of a segment, and the state behind it, detached."""
        tokens, targets = text[place : place + length], text[place + 1 : place + 1 + length]
        net = self.net
        outputs, last = net.cell(functional.embedding(tokens, net.embedding), state)
        loss = tied_cross_entropy(outputs.reshape(-1, outputs.shape[-1]), net.embedding, net.bias, targets.reshape(-1))
        return loss, last.detach()

    def _zero(self, text: Tensor) -> Tensor:
        return torch.zeros(text.shape[1], self.settings.hidden, device=self.device)

    def _stop(self, epoch: int, curve: list[float], train_loss: float) -> str:
        """Why the training ends here, or nothing."""
        loss = curve[-1]
        if not (math.isfinite(train_loss) and loss < DIVERGED):
            return f"diverged in epoch {epoch + 1}"
        if self.settings.stops == "none" or epoch == self.settings.epochs - 1:
            return ""
        if epoch > 3 and loss > math.log(self.proxy.words):
            return f"hopeless after epoch {epoch + 1}: no better than all words alike"
        if self.settings.stops == "official":
            if len(curve) - 1 - curve.index(min(curve)) >= 4:
                return f"no better epoch in 4, at epoch {epoch + 1}"
            if loss > 3 * train_loss:
                return f"validation loss above three times the training loss in epoch {epoch + 1}"
        return ""


def _head(tokens: NDArray[np.int64], end: int, lines: int) -> NDArray[np.int64]:
    """The first ``lines`` lines."""
    ends = np.flatnonzero(tokens == end)
    if not len(ends):
        raise DataError("the text has no line")
    return tokens[: ends[min(lines, len(ends)) - 1] + 1]
