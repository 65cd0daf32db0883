"""Studies: many algorithms, data sets and seeds, in shards that survive whatever happens, and read back as one frame.

::

    from nasharness.studies import Plan, load, run_study

    plan = Plan.create(algorithms=["random", "rea(population=20)"], datasets="all", runs=500, budget="nats")
    results = load(run_study(plan, "results/first", jobs=2))
    results.last.groupby(["dataset", "algorithm"], observed=True)["final"].mean()

A run is a study of one cell: ``write(nasharness.run("rea", space="tss", runs=500), "results/rea")`` makes the same
files, with every evaluation beside them, and one-shot runs write theirs. ``load`` reads them all, mixed.

Large studies
-------------

A shard holds 250 to 1,000 runs, about 6 kB and 150 bytes a run. It is a function of its cell and its number, so it may
be computed anywhere, in any order, again; one process, the driver, writes. Memory does not grow with the study: a
worker holds one shard, the driver the names of those that are done.

What 10^9 evaluations (5 million runs of 200) would take on a 100-node Ray cluster of 1,600 processors, reckoned by
``nasharness.studies.estimate.cluster_estimate``: 5,000 shards of together 0.8 GB; 20 s to start; then 44 s in the
driver (3 ms a shard to hand out and take in, measured; 5 ms to flush it and 200 MB/s, assumed), 1 s of network, and for
``rea``, at 0.2 microseconds an evaluation, 0.1 s of computing. **The driver binds first.** It does so up to 70
microseconds an evaluation; measured are 0.07 (random), 0.2 (rea), 0.5 (reinforce), 3 (autoshrink), 8 (bohb) and 57
(autoshrink.pooled, 36 s of computing). Computing binds for what is slower, such as one's own ``ScalarAlgorithm``. What
would bind next is reading back: ``load`` holds a whole study in one frame, near 80 bytes a row and 10 rows a run, so 4
GB for this one; cut such a study by seed into several folders, or read ``shards/`` with ``pyarrow.dataset``.

Bits are the same on processors of one kind. numpy and its linear algebra choose their kernels by the processor, so
nodes of different kinds may differ in the last bit of a model's prediction (``autoshrink.pooled``, ``darts``); set
``NPY_DISABLE_CPU_FEATURES`` and ``OPENBLAS_CORETYPE`` alike on all nodes of such a cluster.
"""

from nasharness.studies.cells import Study
from nasharness.studies.load import StudyResults, load
from nasharness.studies.of_result import write
from nasharness.studies.plan import Plan, read_plan
from nasharness.studies.run import run_study

__all__ = ["Plan", "Study", "StudyResults", "load", "read_plan", "run_study", "write"]
