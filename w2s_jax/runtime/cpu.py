"""What makes XLA fast on CPUs and can be set only before it, or the process, starts."""

import os
import platform
import sys

FUSION = "xla_cpu_use_multi_output_fusion"  # parameters and moments in one pass, without a copy of any
HUGE_PAGES = "glibc.malloc.hugetlb=1"  # a step allocates gigabytes, and gives them back


def prepare() -> None:
    """Sets XLA's options, where nobody has set such. Does nothing once JAX has its devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_extra_options={FUSION}".strip()


def restart_with_huge_pages() -> None:
    """Starts this program again, in the same process, with large allocations in huge pages: glibc reads that but once.

    Only on Linux with glibc, and where nobody has set such.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ and platform.libc_ver()[0] == "glibc":
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
