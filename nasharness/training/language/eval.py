"""Perplexity of a text: every word counted once, products in float32, sums in float64."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn

from nasharness.runs.job import Progress
from nasharness.training.language.data import Tokens, windows
from nasharness.training.language.model import LanguageModel

#: words a step of evaluation; the state is carried over, so that it decides memory and not the outcome
SEGMENT = 64


def perplexity(loss: float) -> float:
    """Return exp(loss), at most exp(700): a number that any file format holds."""
    return math.exp(min(loss, 700.0))


#: an evaluation that goes part by part: yields tokens done and in all, and returns the loss, nats a token
Reading = Generator[tuple[int, int], None, float]


def read_through(reading: Reading, progress: Progress | None = None) -> float:
    """Go through an evaluation, and return its loss."""
    while True:
        try:
            done, total = next(reading)
        except StopIteration as end:
            return float(end.value)
        if progress is not None:
            progress(done, total)


def mean_loss(
    model: LanguageModel, tokens: Tokens, start: int, *, streams: int = 1, progress: Progress | None = None
) -> float:
    """Return what `reading` does, at once."""
    return read_through(reading(model, tokens, start, streams=streams), progress)


@torch.no_grad()
def reading(model: LanguageModel, tokens: Tokens, start: int, *, streams: int = 1) -> Reading:
    """Return the mean negative log-likelihood of a text, nats a token.

    With one stream the text is read in order, as test perplexities are published. Every token is a target, the first
    one too: it follows ``start``, the end of a line (published code leaves it out, a difference of 1 in the number of
    tokens). With more streams the text is cut into as many parts; every token is still counted once, but each part
    begins with an empty state, which costs a little.

    Args:
        model: in its present weights.
        tokens: the text.
        start: the token for the end of a line.
        streams: parts that are read side by side.
    """
    inputs, targets = (part.to(model.embedding.device) for part in windows(tokens, streams, start))
    state = model.start(inputs.shape[1])
    total = torch.zeros((), dtype=torch.float64, device=state.device)
    for first in range(0, len(inputs), SEGMENT):
        outputs, state = model(inputs[first : first + SEGMENT], state)
        total += negative_log_likelihood(model, outputs, targets[first : first + SEGMENT])
        yield min(len(tokens), (first + SEGMENT) * streams), len(tokens)
    return float(total) / len(tokens)


def negative_log_likelihood(model: LanguageModel, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the summed negative log-likelihood, a float64 scalar, of ``targets`` ``[time, batch]``; -100 is left out.

    ``outputs``: ``[time, batch, width]``, what the cell gave.
    """
    logits = nn.functional.linear(outputs.flatten(0, 1), model.embedding, model.bias)
    losses = nn.functional.cross_entropy(logits, targets.flatten(), reduction="none", ignore_index=-100)
    return losses.sum(dtype=torch.float64)


def mean_squares(model: LanguageModel, tokens: Tokens, start: int, *, streams: int = 64, bptt: int = 5) -> list[Tensor]:
    """Return the mean square of every weight's gradient over segments of a text: the scale of dynamic evaluation.

    The gradient of ``streams`` segments together varies so many times less than that of one, which is what adapts
    later: squares are multiplied with it.
    """
    inputs, targets = (part.to(model.embedding.device) for part in windows(tokens, streams, start))
    squares = [torch.zeros_like(weight) for weight in model.parameters()]
    state, segments = model.start(inputs.shape[1]), 0
    for first in range(0, len(inputs), bptt):
        state = _gradient(model, inputs[first : first + bptt], targets[first : first + bptt], state)[0]
        for square, weight in zip(squares, model.parameters(), strict=True):
            if weight.grad is not None:
                square.addcmul_(weight.grad, weight.grad)
        segments += 1
    return [square * (streams / segments) for square in squares]


def dynamic_reading(
    model: LanguageModel,
    tokens: Tokens,
    start: int,
    squares: list[Tensor],
    *,
    rate: float = 1e-4,
    decay: float = 2e-3,
    bptt: int = 5,
) -> Reading:
    """Return the mean loss of a text, nats a token, while the model adapts to what it has read.

    Krause et al., Dynamic evaluation of neural sequence models, ICML 2018 (arXiv 1709.07432), the rule with RMS norm
    and decay: a segment is scored first and then learnt from, with the gradient over the root of its mean square,
    ``rate``, and a pull back to the trained weights, ``decay``, stronger where gradients are large. The weights are
    the same after the call. Ours: the mean root is the constant added below the gradient.

    Args:
        model: in its trained weights.
        tokens: the text, read in order in one stream.
        start: the token for the end of a line.
        squares: of the training text, from :func:`mean_squares`.
        rate: step size; too large a one can end in a loss that is no number.
        decay: strength of the pull.
        bptt: words a segment.
    """
    weights = list(model.parameters())
    trained = [weight.detach().clone() for weight in weights]
    roots = [square.sqrt() for square in squares]
    # What a weight's root is compared with. It is also added below a gradient, so that a weight that training hardly
    # moved is not thrown off by the first gradient it meets.
    mean = max(sum(float(root.double().sum()) for root in roots) / sum(root.numel() for root in roots), 1e-30)
    pulls = [(root / mean).clamp_(max=1 / decay if decay else math.inf) * decay for root in roots]
    inputs, targets = (part.to(model.embedding.device) for part in windows(tokens, 1, start))
    state, total = model.start(1), 0.0
    try:
        for first in range(0, len(inputs), bptt):
            state, loss = _gradient(model, inputs[first : first + bptt], targets[first : first + bptt], state)
            total += float(loss)
            with torch.no_grad():
                for weight, root, pull, origin in zip(weights, roots, pulls, trained, strict=True):
                    if weight.grad is not None:
                        change = pull * (origin - weight)
                        weight.addcdiv_(weight.grad, root + mean, value=-rate).add_(change)
            yield min(len(tokens), first + bptt), len(tokens)
    finally:
        with torch.no_grad():
            for weight, origin in zip(weights, trained, strict=True):
                weight.copy_(origin)
        model.zero_grad(set_to_none=True)
    return total / len(tokens)


def _gradient(model: LanguageModel, inputs: Tensor, targets: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Leave the gradient of the mean loss of a segment in the weights; return the next state and the summed loss."""
    model.zero_grad(set_to_none=True)
    outputs, state = model(inputs, state)
    total = negative_log_likelihood(model, outputs, targets)
    (total / max(1, int((targets != -100).sum()))).backward()  # type: ignore[no-untyped-call]
    return state.detach(), total.detach()
