"""Where models are kept: those that come with MorseCore, and those a user imported."""

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from MorseCore.config import nearest
from MorseCore.errors import ModelError, OutputError
from MorseCore.model_folder import CARD, INFO, WEIGHTS, ModelInfo, read_model

__all__ = ["BUILT_IN", "find_model", "import_model", "list_models", "user_folder"]

BUILT_IN = Path(__file__).parent / "models"
_FILES = (INFO, WEIGHTS, CARD)
_LARGEST = 4 * 2**30  # bytes a model file may unpack to


def user_folder() -> Path:
    """Where imported models are kept."""
    return Path.home() / ".morsesegment" / "models"


def list_models(user: Path | None = None) -> dict[str, Path]:
    """All models by name; an imported one hides a built-in of the same name."""
    found: dict[str, Path] = {}
    for root in (BUILT_IN, user or user_folder()):
        if root.is_dir():
            found |= {p.name: p for p in sorted(root.iterdir()) if (p / INFO).is_file()}
    return found


def find_model(name: str, user: Path | None = None) -> Path:
    """The folder of a model, by name or by path.

    :raises ModelError: if there is none.
    """
    models = list_models(user)
    if name in models:
        return models[name]
    path = Path(name)
    if path.is_dir():
        return path
    raise ModelError(
        f"There is no model '{name}'{nearest(name, models)}; known: {', '.join(models) or 'none'}."
        " A path to a model folder works too."
    )


def import_model(source: Path, user: Path | None = None) -> tuple[Path, ModelInfo]:
    """Copy a model folder, or unpack a zip of one, into the user's models, once it is checked.

    :raises ModelError: if the source is no model, is damaged, or a model of that name exists.
    :raises OutputError: if the user's folder cannot be written to.
    """
    root = user or user_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".import-") as name:
            staged = Path(name) / "model"
            staged.mkdir()
            _stage(source, staged)
            info = read_model(staged)
            target = root / _safe_name(info.name)
            if target.exists():
                raise ModelError(
                    f"A model '{info.name}' is already there: '{target}'. Remove it first."
                )
            staged.rename(target)
    except OSError as error:
        raise OutputError(
            f"The model could not be stored in '{root}': {error.strerror}."
        ) from error
    return target, info


def _stage(source: Path, staged: Path) -> None:
    if source.is_dir():
        for name in _FILES:
            if (source / name).is_symlink() or not (source / name).is_file():
                raise ModelError(f"'{source}' is no model folder: it lacks the file '{name}'.")
            shutil.copyfile(source / name, staged / name)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for entry, name in _model_entries(archive, source):
                with archive.open(entry) as stream, (staged / name).open("wb") as target:
                    shutil.copyfileobj(stream, target)
    else:
        raise ModelError(f"'{source}' is neither a model folder nor a zip file of one.")


def _model_entries(archive: zipfile.ZipFile, source: Path) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """The three files of a model, wherever they lie in the archive; nothing else is unpacked."""
    folders = {
        PurePosixPath(e.filename).parent for e in archive.infolist() if e.filename.endswith(INFO)
    }
    if len(folders) != 1:
        raise ModelError(f"'{source}' must hold exactly one model.json; found {len(folders)}.")
    folder = folders.pop()
    for name in _FILES:
        try:
            entry = archive.getinfo(str(folder / name))
        except KeyError:
            raise ModelError(f"'{source}' lacks the file '{name}'.") from None
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.file_size > _LARGEST:
            raise ModelError(f"'{name}' in '{source}' is a link or too large.")
        yield entry, name


def _safe_name(name: str) -> str:
    if not name or name in (".", "..") or any(c in name for c in '/\\:*?"<>|'):
        raise ModelError(f"A model's name must be a plain folder name; found '{name}'.")
    return name
