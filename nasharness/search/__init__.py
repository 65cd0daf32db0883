"""Search: problems, the ask/tell loop over a batch of runs, budgets and clock, random streams, the registry."""

from nasharness.search.algorithm import NOTHING, PAUSE, Algorithm, ScalarAlgorithm
from nasharness.search.backend import Backend
from nasharness.search.objective import Limit, Objective
from nasharness.search.problem import Problem
from nasharness.search.registry import Record, register
from nasharness.search.replicated import Replicated, replicate
from nasharness.search.result import Result
from nasharness.search.run import Interrupted, run
from nasharness.search.task import Task

__all__ = [
    "NOTHING",
    "PAUSE",
    "Algorithm",
    "Backend",
    "Interrupted",
    "Limit",
    "Objective",
    "Problem",
    "Record",
    "Replicated",
    "Result",
    "ScalarAlgorithm",
    "Task",
    "register",
    "replicate",
    "run",
]
