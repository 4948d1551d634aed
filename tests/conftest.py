"""Types and shapes are checked in every test, and every test can make a mesh of eight devices."""

import jax
import jaxtyping
from beartype import BeartypeConf, beartype

jax.config.update("jax_num_cpu_devices", 8)

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))  # as for mypy, an int is a float
jaxtyping.install_import_hook("w2s_jax", f"{__name__}.check_types")
