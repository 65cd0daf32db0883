"""Studies: many algorithms, data sets and seeds, in shards that survive whatever happens, and read back as one frame.

::

    from nasharness.studies import Plan, load, run_study

    plan = Plan.create(algorithms=["random", "rea(population=20)"], datasets="all", runs=500, budget="nats")
    results = load(run_study(plan, "results/first", jobs=2))
    results.last.groupby(["dataset", "algorithm"], observed=True)["final"].mean()
"""

from nasharness.studies.cells import Study
from nasharness.studies.load import StudyResults, load
from nasharness.studies.plan import Plan, read_plan
from nasharness.studies.run import run_study

__all__ = ["Plan", "Study", "StudyResults", "load", "read_plan", "run_study"]
