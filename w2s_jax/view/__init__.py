"""A page to look at runs with: grid, cells, examples and stages, served here or written as files.

content: what the page shows, in parts. progress: stages of runs that go on. page: the document. writing: the page as
files. server: the page while runs go on. static/: the script and the styles.
"""

from w2s_jax.view.writing import bundle

__all__ = ["bundle"]
