"""Running an experiment: its runs on many processes or a cluster, kept as they come, and what they add up to.

With this module one can

- repeat a published experiment in one call, ``run_experiment("counts", "counts")``, and go on where it was interrupted;
- read its table, findings, picture and note from the folder.
"""

from simulator.running.runner import Report, run_experiment
from simulator.running.tasks import Outcome, Task

__all__ = ["Outcome", "Report", "Task", "run_experiment"]
