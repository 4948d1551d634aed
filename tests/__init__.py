"""Tests; `QUICK` are the compiler's flags for them.

They compile much and compute little: XLA compiles quickly, and its code may be slow.
"""

import jax

QUICK = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):  # XLA ends the process at a flag that it does not know
    QUICK += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
