"""Optuna's samplers, any of them by name, as search algorithms: an adapter of ask and tell."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.extras import pip_install
from nasharness.search import ScalarAlgorithm, register


@register(
    "optuna",
    citation="Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019",
    needs=("product", "outside"),
    meanings={
        "sampler": "a class of optuna.samplers with default settings; TPESampler, RandomSampler, ...; Optuna's default",
    },
)
class OptunaSampler(ScalarAlgorithm):
    """A sampler of Optuna's, one study a run; every position is a categorical parameter.

    Slow beside ours, by two orders of magnitude and more: it is here to compare with. Optuna is an extra, `peers`; a
    study of all algorithms leaves it out.
    """

    def __init__(self, *, sampler: str = "TPESampler") -> None:
        try:
            import optuna
        except ImportError as error:
            raise UsageError(f"samplers of Optuna need optuna: {pip_install('peers')}") from error
        offered = [name for name in optuna.samplers.__all__ if name.endswith("Sampler") and name != "BaseSampler"]
        if sampler not in offered:
            raise unknown("optuna: sampler", sampler, offered)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        cls = getattr(optuna.samplers, sampler)
        accepted = inspect.signature(cls).parameters
        given: dict[str, Any] = {"seed": int(self.rng.integers(2**31))} if "seed" in accepted else {}
        with warnings.catch_warnings():  # of what is experimental or to come: nothing that the user can change
            warnings.simplefilter("ignore")
            try:
                self._study = optuna.create_study(direction="maximize", sampler=cls(**given))
            except (TypeError, ImportError) as error:
                raise UsageError(f"optuna: {sampler} cannot be made without arguments: {error}") from error
        distribution = optuna.distributions.CategoricalDistribution
        self._parameters = {
            f"{place}": distribution(tuple(range(count))) for place, count in enumerate(self.space.sizes)
        }
        self._trial: Any = None
        self._told = optuna.trial.create_trial

    def ask(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._trial = self._study.ask(self._parameters)
        choices = np.array([self._trial.params[name] for name in self._parameters])
        arch = self.space.index(choices)  # type: ignore[attr-defined]
        return arch if self.space.arch_shape else int(arch)

    def tell(self, arch: Any, value: float) -> None:
        if self._trial is None:  # of a start that the problem dictates
            given = dict(zip(self._parameters, self.space.choices(np.asarray(arch)).tolist(), strict=True))
            self._study.add_trial(self._told(params=given, distributions=self._parameters, value=value))
        else:
            self._study.tell(self._trial, value)
            self._trial = None
