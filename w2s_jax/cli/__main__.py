"""`python -m w2s_jax.cli`, where `w2s` is not on the path."""

import sys

from w2s_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
