"""Text as data, the loss, perplexity and the published recipe's parts, each against a direct computation."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from nasharness.errors import DataError, UsageError
from nasharness.nets.shrinkrnn import PUBLISHED, RecurrentNet
from nasharness.training.language import recipes
from nasharness.training.language.data import END, UNKNOWN, Vocabulary, columns, read_corpus, windows
from nasharness.training.language.eval import dynamic_reading, mean_loss, mean_squares, perplexity, read_through
from nasharness.training.language.loss import tied_cross_entropy
from nasharness.training.language.model import LanguageModel, Masks, cell_of
from nasharness.training.language.optimiser import TextOptimiser, stalled
from nasharness.training.language.train import penalty, segment_length
from tests.text_fixtures import write_corpus


def model_of(words: int = 31, width: int = 6, seed: int = 0, *, graph=PUBLISHED) -> LanguageModel:
    draw = torch.Generator().manual_seed(seed)
    return LanguageModel(graph, words, width, initial=0.5, generator=draw).double()


# ---- data


def test_reads_a_triple_with_line_ends(tmp_path):
    (tmp_path / "a.train.txt").write_text("b a\n\n a\tc \n", encoding="utf-8")
    (tmp_path / "a.valid.txt").write_text("c", encoding="utf-8")
    (tmp_path / "a.test.txt").write_text("a\r\n", encoding="utf-8")
    corpus = read_corpus(tmp_path)
    assert corpus.vocabulary.words == ("b", "a", END, "c")
    assert corpus.train.tolist() == [0, 1, 2, 2, 1, 3, 2]
    assert corpus.valid.tolist() == [3, 2]
    assert corpus.test.tolist() == [1, 2]
    assert "7 / 2 / 2 tokens" in corpus.describe()


def test_unknown_words_are_an_error_or_unk(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / "tiny.valid.txt").write_text("w1 w2\nw3 other more\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"valid\.txt, line 2: 'other' .* nor are 1 other .*--set unknown_words=unk"):
        read_corpus(tmp_path)
    corpus = read_corpus(tmp_path, unknown_words="unk")
    assert corpus.vocabulary.words[-1] == UNKNOWN
    place = len(corpus.vocabulary) - 1
    assert corpus.valid.tolist().count(place) == 2
    words = (tmp_path / "tiny.train.txt").read_text().split()
    once = [word for word in words if words.count(word) == 1]
    assert once  # they are what the unknown word is learnt from
    assert corpus.train.tolist().count(place) == len(once)
    assert not set(once) & set(corpus.vocabulary.words)
    write_corpus(tmp_path / "all")  # where nothing is unknown, no word is given up
    assert set(words) < set(read_corpus(tmp_path / "all", unknown_words="unk").vocabulary.words)
    with pytest.raises(UsageError, match="nearest"):
        read_corpus(tmp_path, unknown_words="skip")


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        read_corpus(tmp_path / "no")
    with pytest.raises(DataError, match=r"NAME\.train\.txt"):
        read_corpus(tmp_path)
    write_corpus(tmp_path, "one")
    write_corpus(tmp_path, "two")
    with pytest.raises(UsageError, match="one, two"):
        read_corpus(tmp_path)
    assert read_corpus(tmp_path, "two").name == "two"
    with pytest.raises(UsageError, match="nearest: t"):
        read_corpus(tmp_path, "too")
    (tmp_path / "two.test.txt").unlink()
    with pytest.raises(DataError, match=r"two\.test\.txt is absent"):
        read_corpus(tmp_path, "two")
    (tmp_path / "one.test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_corpus(tmp_path, "one")
    (tmp_path / "one.test.txt").write_bytes(b"")
    with pytest.raises(DataError, match="holds no text"):
        read_corpus(tmp_path, "one")


def test_penn_treebank_has_the_published_counts(shared_data):
    corpus = read_corpus(shared_data / "ptb")
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (929_589, 73_760, 82_430)
    assert len(corpus.vocabulary) == 10_000


def test_columns_are_streams_of_the_text():
    text = columns(np.arange(11), 3)
    assert text.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    with pytest.raises(DataError, match="lower --batch"):
        columns(np.arange(5), 3)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_windows_make_every_token_a_target_once(count):
    tokens = np.arange(10, 21)
    inputs, targets = windows(tokens, count, 0)
    seen = targets.T[targets.T >= 0]
    assert seen.tolist() == tokens.tolist()
    before = dict(zip(tokens.tolist(), [0, *tokens[:-1].tolist()], strict=True))
    assert all(before[int(t)] == int(i) for i, t in zip(inputs.flatten(), targets.flatten(), strict=True) if t >= 0)


# ---- loss and perplexity


def test_loss_and_gradient_of_the_tied_decoder(monkeypatch):
    monkeypatch.setattr("nasharness.training.language.loss.ROWS", 7)  # several parts, the last one shorter
    draw = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in ((17, 5), (9, 5), (9,))
    )
    targets = torch.randint(9, (17,), generator=draw)
    expected = nn.functional.cross_entropy(nn.functional.linear(hidden, weight, bias), targets)
    found = tied_cross_entropy(hidden, weight, bias, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    want = torch.autograd.grad(3 * expected, [hidden, weight, bias])
    have = torch.autograd.grad(3 * found, [hidden, weight, bias])
    for a, b in zip(have, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_loss_in_bf16_is_near():
    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(40, 16, generator=draw), torch.randn(50, 16, generator=draw)
    hidden.requires_grad_()
    targets = torch.randint(50, (40,), generator=draw)
    exact = tied_cross_entropy(hidden, weight, torch.zeros(50), targets)
    near = tied_cross_entropy(hidden, weight, torch.zeros(50), targets, dtype=torch.bfloat16)
    assert abs(float(near.detach()) - float(exact.detach())) < 0.02
    a, b = (torch.autograd.grad(loss, hidden)[0] for loss in (exact, near))
    assert float((a - b).norm() / a.norm()) < 0.02


def test_perplexity_equals_a_word_by_word_computation():
    """Through the plain network, one word at a time, with the probabilities multiplied one by one."""
    model = model_of()
    plain = RecurrentNet(PUBLISHED, 31, 6).double()
    plain.load_state_dict(model.state_dict())
    tokens = np.random.default_rng(0).integers(0, 31, 150)
    state, before, total = None, 5, 0.0
    with torch.no_grad():
        for token in tokens.tolist():
            logits, state = plain(torch.tensor([[before]]), state)
            total -= float(torch.log_softmax(logits[0, 0], 0)[token])
            before = token
    assert mean_loss(model, tokens, 5) == pytest.approx(total / len(tokens), rel=1e-12)
    assert perplexity(math.log(58.5)) == pytest.approx(58.5)
    assert math.isfinite(perplexity(1e9))


def test_streams_of_perplexity_start_empty_and_lose_no_token():
    model, tokens = model_of(), np.random.default_rng(0).integers(0, 31, 101)
    first, second = tokens[:51], tokens[51:]
    apart = mean_loss(model, first, 5) * len(first) + mean_loss(model, second, int(first[-1])) * len(second)
    assert mean_loss(model, tokens, 5, streams=2) == pytest.approx(apart / 101, rel=1e-12)


def dynamic_loss(*given, **options):
    return read_through(dynamic_reading(*given, **options))


def test_dynamic_evaluation_learns_and_leaves_the_model_alone():
    model = model_of()
    tokens = np.tile([1, 4, 2, 8, 5, 7], 60)
    before = copy.deepcopy(model.state_dict())
    squares = mean_squares(model, tokens, 0, streams=4)
    adapted = dynamic_loss(model, tokens, 0, squares, rate=5e-3, decay=1e-3)
    assert adapted < mean_loss(model, tokens, 0) - 0.1
    assert dynamic_loss(model, tokens, 0, squares, rate=0.0, decay=0.0) == pytest.approx(mean_loss(model, tokens, 0))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_dynamic_evaluation_is_the_published_rule():
    """Krause et al., ICML 2018: theta <- theta - rate g / (RMS + eps) + decay (theta_g - theta) RMS / mean(RMS).

    Written out with a word-by-word network, its gradients from torch, segment by segment; decay RMS / mean(RMS) is 1 at
    most, as in the authors' code.
    """
    words, bptt, rate, decay = 31, 5, 3e-3, 0.3
    rng = np.random.default_rng(1)
    text, tokens = rng.integers(0, words, 64), rng.integers(0, words, 43)
    model = model_of()
    net = RecurrentNet(PUBLISHED, words, 6).double()
    net.load_state_dict(model.state_dict())
    theta = dict(net.named_parameters())

    def gradients(before, after, state):
        logits, state = net(before, state)
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), after.flatten(), reduction="none")
        found = torch.autograd.grad(losses.mean(), list(theta.values()))
        return float(losses.detach().sum()), dict(zip(theta, found, strict=True)), state.detach()

    # mean squares: gradients of four streams together, each a quarter of the text, times four
    streams = torch.from_numpy(np.concatenate([[2], text]))
    before, after = (streams[:-1].reshape(4, 16).T, streams[1:].reshape(4, 16).T)
    squares, state = dict.fromkeys(theta, 0.0), None
    starts = range(0, 16, bptt)
    for first in starts:
        _, found, state = gradients(before[first : first + bptt], after[first : first + bptt], state)
        squares = {name: squares[name] + 4 * found[name] ** 2 / len(starts) for name in theta}
    for square, own in zip(squares.values(), mean_squares(model, text, 2, streams=4), strict=True):
        torch.testing.assert_close(square, own, rtol=1e-9, atol=1e-18)

    rms = {name: squares[name].sqrt() for name in theta}
    mean = torch.cat([root.flatten() for root in rms.values()]).mean()
    trained = {name: weight.detach().clone() for name, weight in theta.items()}
    read = torch.from_numpy(np.concatenate([[2], tokens]))[:, None]
    total, state = 0.0, None
    for first in range(0, len(tokens), bptt):
        last = min(first + bptt, len(tokens))
        loss, found, state = gradients(read[first:last], read[first + 1 : last + 1], state)
        total += loss
        with torch.no_grad():
            for name, weight in theta.items():
                pull = torch.minimum(decay * rms[name] / mean, torch.ones(()).double())
                weight.copy_(weight - rate * found[name] / (rms[name] + mean) + pull * (trained[name] - weight))
    adapted = dynamic_loss(model, tokens, 2, mean_squares(model, text, 2, streams=4), rate=rate, decay=decay, bptt=bptt)
    assert adapted == pytest.approx(total / len(tokens), rel=1e-9)
    assert adapted != pytest.approx(mean_loss(model, tokens, 2), rel=1e-4)


# ---- model


def test_published_size_and_names():
    model = LanguageModel(PUBLISHED, 10_000, 745)
    assert sum(weight.numel() for weight in model.parameters()) == 23_000_700
    assert model.state_dict().keys() == RecurrentNet(PUBLISHED, 10, 4).state_dict().keys()
    assert float(model.embedding.detach().abs().max()) <= 0.04
    assert torch.count_nonzero(model.bias) == 0


def test_an_lstm_fits_the_same_place_and_draws_from_its_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    model, twin = (model_of(graph=(6,)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    tokens = torch.arange(12).reshape(6, 2)
    outputs, last = model(tokens, model.start(2))
    half, middle = twin(tokens[:3], twin.start(2))
    rest, end = twin(tokens[3:], middle)
    torch.testing.assert_close(torch.cat([half, rest]), outputs)
    torch.testing.assert_close(end, last)


def test_awd_lstm_is_the_equations_with_masked_weights_and_layers():
    """Outputs, state and gradients of three layers, against the equations written out word by word."""
    model = model_of(words=9, width=4, graph=(5, 5, 4))
    draw = torch.Generator().manual_seed(3)
    recipe = recipes.get("awd-lstm", {"width": 4, "hidden": 5, "batch": 2})
    masks = Masks.draw(recipe, 9, draw, model.layers)
    tokens = torch.randint(9, (6, 2), generator=draw)
    start = torch.randn(2, 28, generator=draw, dtype=torch.float64)
    outputs, last = model(tokens, start, masks)
    (outputs.square().sum() + last.sum()).backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    below = [model.embedding[row] * masks.words[row, None] * masks.embedded for row in tokens]
    ends, at = [], 0
    for number, width in enumerate((5, 5, 4)):
        w_in, w_state, b_in, b_state = model.cell.layers[number].parameters()
        h, c = start[:, at : at + width], start[:, at + width : at + 2 * width]
        at += 2 * width
        above = []
        for x in below:
            gates = x @ w_in.T + b_in + h @ (w_state * masks.weights[number]).T + b_state
            into, forget, candidate, out = gates.chunk(4, 1)
            c = forget.sigmoid() * c + into.sigmoid() * candidate.tanh()
            h = out.sigmoid() * c.tanh()
            above.append(h if number == 2 else h * masks.between[number])
        below = above
        ends += [h, c]
    torch.testing.assert_close(outputs, torch.stack(below))
    torch.testing.assert_close(last, torch.cat(ends, 1))
    (torch.stack(below).square().sum() + torch.cat(ends, 1).sum()).backward()
    for name, weight in model.named_parameters():
        if name in found:
            torch.testing.assert_close(weight.grad, found[name])
    assert {f"cell.layers.{number}.weight_hh_l0" for number in range(3)} <= found.keys()
    assert torch.equal(found["cell.layers.1.weight_hh_l0"] == 0, masks.weights[1] == 0)  # no gradient where dropped


def test_awd_lstm_has_the_published_size_and_masks():
    recipe = recipes.get("awd-lstm")
    layers = cell_of("awd-lstm", recipe)
    assert layers == (1150, 1150, 400)
    model = LanguageModel(layers, 10_000, recipe.width, initial=recipe.initial)
    assert sum(weight.numel() for weight in model.parameters()) == 24_221_600  # 24 M in the paper
    masks = Masks.draw(recipe, 10_000, torch.Generator().manual_seed(0), layers)
    for mask, drop in ((masks.weights[0], 0.5), (masks.between[0], 0.25), (masks.embedded, 0.4), (masks.output, 0.4)):
        assert float((mask == 0).double().mean()) == pytest.approx(drop, abs=0.02)
    assert [tuple(mask.shape) for mask in masks.weights] == [(4600, 1150), (4600, 1150), (1600, 400)]
    assert (masks.input, masks.state) == (None, None)
    assert torch.equal(masks.streams(slice(5, 9)).between[1], masks.between[1][5:9])


def test_what_a_cell_cannot_drop_is_refused():
    with pytest.raises(UsageError, match=r"drop_state = 0\.25, but an LSTM .* --recipe awd-lstm"):
        cell_of("lstm", recipes.get("shrinkrnn"))
    assert cell_of("lstm", recipes.get("shrinkrnn", {"drop_state": 0})) == (745,)
    with pytest.raises(UsageError, match=r"drop_weights = 0\.5 is for lstm and awd-lstm"):
        cell_of("shrinkrnn", recipes.get("awd-lstm"))
    with pytest.raises(UsageError, match="unknown recurrent cell 'awd-lsmt'.*awd-lstm"):
        cell_of("awd-lsmt", recipes.get("awd-lstm"))


def test_masks_have_the_recipe_s_shares_and_drop_what_they_say():
    recipe = recipes.get("shrinkrnn", {"width": 200, "batch": 40})
    masks = Masks.draw(recipe, 5000, torch.Generator().manual_seed(0))
    for mask, drop in (
        (masks.output, 0.75), (masks.state, 0.25), (masks.input, 0.75), (masks.embedded, 0.2), (masks.words, 0.1),
    ):  # fmt: skip
        assert mask is not None
        assert float((mask == 0).double().mean()) == pytest.approx(drop, abs=0.02)
        assert float(mask.max()) == pytest.approx(1 / (1 - drop))
    assert masks.words is not None
    assert masks.words.shape == (5000,)
    halves = [masks.streams(slice(0, 20)), masks.streams(slice(20, 40))]
    assert torch.equal(torch.cat([half.state for half in halves if half.state is not None]), masks.state)
    assert Masks.draw(recipes.get("shrinkrnn", {"drop_state": 0}), 9, torch.Generator()).state is None

    model = model_of(words=5, width=3)
    gone = Masks(words=torch.tensor([1.0, 0, 1, 1, 1], dtype=torch.float64))
    model(torch.tensor([[1], [2], [1]]), model.start(1), gone)[0].sum().backward()
    assert model.embedding.grad is not None
    assert torch.count_nonzero(model.embedding.grad[1]) == 0
    assert torch.count_nonzero(model.embedding.grad[2]) > 0


def test_penalties_are_the_published_ones():
    draw = torch.Generator().manual_seed(0)
    raw, dropped = torch.randn(7, 2, 3, generator=draw), torch.randn(7, 2, 3, generator=draw)
    recipe = recipes.get("shrinkrnn", {"alpha": 2.0, "beta": 0.5})
    change = sum(float(((raw[t + 1] - raw[t]) ** 2).sum()) for t in range(6)) / (6 * 2 * 3)
    size = float((dropped**2).sum()) / dropped.numel()
    assert float(penalty(raw, dropped, recipe)) == pytest.approx(2 * size + 0.5 * change, rel=1e-6)
    assert float(penalty(raw[:1], dropped[:1], recipes.get("shrinkrnn"))) == 0


# ---- recipe


def test_segment_lengths_have_the_published_distribution():
    draw = torch.Generator().manual_seed(0)
    lengths = np.array([segment_length(35, draw) for _ in range(4000)])
    assert lengths.min() >= 5
    assert lengths.max() <= 55
    short = (lengths < 26).mean()  # half-length segments, but for 4 % of the others
    assert 0.06 < short < 0.11
    assert np.median(lengths) == pytest.approx(34.4, abs=0.7)
    assert min(segment_length(5, draw) for _ in range(200)) == 5
    assert max(segment_length(100, draw) for _ in range(2000)) <= 120


def test_averaging_begins_when_the_official_condition_holds():
    """The condition as in the released training loop, on random curves."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        losses = np.minimum.accumulate(rng.normal(5, 1, 20)) + rng.normal(0, 0.3, 20)
        recorded: list[float] = []
        expected = None
        for epoch, loss in enumerate(losses.tolist()):
            if expected is None and len(recorded) > 5 and loss > min(recorded[:-5]):
                expected = epoch
            recorded.append(loss)
        optimiser = TextOptimiser(nn.Linear(1, 1), recipes.get("shrinkrnn"), 1)
        begun = [epoch for epoch, loss in enumerate(losses.tolist()) if optimiser.record(loss)]
        assert begun == ([] if expected is None else [expected])
    assert not stalled([1.0] * 5, 9.0, 5)
    assert stalled([1.0] * 6, 9.0, 5)
    assert not stalled([3.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2.0, 5)


def test_averaged_sgd_is_sgd_whose_mean_is_kept():
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    holder = nn.Module()
    holder.weight = weight
    recipe = recipes.get("shrinkrnn", {"lr": 0.1, "weight_decay": 0, "clip": 1e9, "patience": 1})
    optimiser = TextOptimiser(holder, recipe, 1)
    for loss in (1.0, 1.0, 2.0):
        optimiser.record(loss)
    assert optimiser.averaging
    path, x = [], 1.0
    for _ in range(6):
        weight.grad = 2 * weight.detach()
        optimiser.step(0.1)
        x -= 0.1 * 2 * x
        path.append(x)
        assert float(weight.detach()) == pytest.approx(x)
    with optimiser.averaged():
        # torch's ASGD forgets the first point: its second step begins the mean anew
        assert float(weight.detach()) == pytest.approx(np.mean(path[1:]))
    assert float(weight.detach()) == pytest.approx(x)


def test_gradient_is_clipped_to_the_recipe_s_norm():
    holder = nn.Linear(3, 1, bias=False).double()
    recipe = recipes.get("shrinkrnn", {"weight_decay": 0})
    optimiser = TextOptimiser(holder, recipe, 1)
    before = holder.weight.detach().clone()
    holder.weight.grad = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)
    optimiser.step(2.0)
    torch.testing.assert_close(
        before - holder.weight.detach(), torch.tensor([[0.3, 0.4, 0.0]]).double(), rtol=1e-6, atol=1e-6
    )


def test_published_recipe_is_as_released():
    recipe = recipes.get("shrinkrnn")
    assert (recipe.width, recipe.epochs, recipe.batch, recipe.bptt, recipe.lr) == (745, 3000, 64, 35, 20.0)
    assert (recipe.clip, recipe.weight_decay, recipe.alpha, recipe.beta) == (0.25, 8e-7, 0.0, 1e-3)
    assert (recipe.valid_streams, recipe.test_streams, recipe.initial, recipe.patience) == (10, 1, 0.04, 5)


def test_settings_are_checked():
    assert recipes.get("small", {"batch": 7.0, "lr": None}).batch == 7
    with pytest.raises(UsageError, match="nearest: s"):
        recipes.get("smal")
    with pytest.raises(UsageError, match="nearest: drop_"):
        recipes.get("small", {"drop_out": 0.1})
    with pytest.raises(UsageError, match="expected a number between"):
        recipes.get("small", {"drop_words": 1.5})
    with pytest.raises(UsageError, match="whole number"):
        recipes.get("small", {"batch": 7.5})


def test_vocabulary_checksum_tells_orders_apart():
    assert Vocabulary(("a", "b")).checksum != Vocabulary(("b", "a")).checksum
