"""The upload of `model/` to the Hub."""

import shlex
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from ner.options import UserError


def check_repository_name(name: str) -> None:
    """Refuse a name that the Hub would refuse, before training rather than after it."""
    try:
        validate_repo_id(name if "/" in name else "")
    except HFValidationError:
        raise UserError(f"push_to_hub: {name!r} is not a repository; expected user/name (letters, digits, "
                        f"-_.)") from None


def reason(error: BaseException) -> str:
    """Why the Hub's client failed, on one line."""
    if isinstance(error, RuntimeError) and error.__cause__:  # how the client wraps a failed upload of a large file
        error = error.__cause__
    if isinstance(error, LocalTokenNotFoundError):
        return "no token found: log in with 'hf auth login' or set HF_TOKEN"
    if not isinstance(error, HfHubHTTPError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    status, said = error.response.status_code, error.server_message or ""
    hint = "log in with 'hf auth login' and a token with write access" if status in (401, 403) else ""
    return " ".join(f"the Hub answered {status} {said} {hint}".split())


def push(folder: Path, repository: str, public: bool) -> str:
    """Upload a model folder to the Hub, private unless `public`; returns the URL. ``UserError`` if it fails."""
    check_repository_name(repository)
    again = shlex.join(["hf", "upload", repository, str(folder), ".", *([] if public else ["--private"])])
    try:
        api = HfApi(token=True)
        url = api.create_repo(repository, private=not public, exist_ok=True)
        private = api.repo_info(repository).private  # `create_repo` does not change an existing one
        if private != public:
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a fine-tuned tagger")
            return str(url)
    except Exception as error:  # the client raises many kinds, all of which mean that the upload failed
        raise UserError(f"push_to_hub: {repository} was not uploaded ({reason(error)}); the model is safe in {folder}, "
                        f"try again with: {again}") from None
    found, flag = ("private", "without") if private else ("public", "with")
    raise UserError(f"push_to_hub: {repository} already exists and is {found}, so nothing was uploaded; the model is "
                    f"safe in {folder}, try again with another name or {flag} --public")
