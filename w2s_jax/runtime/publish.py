"""Folders as repositories of the Hugging Face Hub."""

import re
from pathlib import Path
from typing import Literal

from w2s_jax.runtime.errors import UserError

Kind = Literal["model", "dataset"]


def check(name: str) -> None:
    """That a repository may be called so.

    Raises:
      UserError: it may not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name of a repository: {error}") from error
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"{name!r} is no name of a repository; want 'org/name'")


def push(folder: Path, name: str, kind: Kind, *, private: bool) -> str:
    """Uploads a folder as one commit, into a repository that is made if there is none, and returns its address.

    Args:
      private: whether a new repository is; one that is there stays as it is.

    Raises:
      UserError: the Hub cannot be reached, or refuses; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    check(name)
    api = HfApi()
    try:
        address = api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        message = "Upload of w2s_jax"
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=str(folder), commit_message=message)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} could not be pushed ({reason}); {folder} is written: log in with `hf auth login`, or set "
            f"HF_TOKEN, then upload it with `hf upload {name} {folder}`"
        ) from error
    return str(address)
