"""Where models are kept: those that come with MorseCore, and those a user imported."""

import lzma
import shutil
import stat
import zipfile
import zlib
from os.path import exists, isdir, isfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from MorseCore.config import nearest, shorten
from MorseCore.errors import ModelError
from MorseCore.store.model_folder import (
    INFO,
    LARGEST,
    ModelInfo,
    check_file_size,
    load_network,
    read_model,
)
from MorseCore.system.files import output_error, replace_patiently, temporary_folder

__all__ = [
    "BUILT_IN",
    "find_model",
    "hides_built_in",
    "import_model",
    "list_models",
    "remove_model",
    "user_folder",
]

BUILT_IN = Path(__file__).parents[1] / "models"
_SHOWN = 300  # characters of a name that is none; it may have been meant as a path
_MOST_ENTRIES = 1000  # in an archive; a model is three
_MOST_PACKED, _SMALL = 100, 2**24  # times what an entry may unpack to, and bytes of which any may
_UNZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def user_folder() -> Path:
    """Where imported models are kept."""
    return Path.home() / ".morsesegment" / "models"


def list_models(user: Path | None = None) -> dict[str, Path]:
    """All models by name, broken ones too; an imported one hides a built-in of the same name."""
    found: dict[str, Path] = {}
    for root in (BUILT_IN, user or user_folder()):
        if root.is_dir():
            folders = (p for p in sorted(root.iterdir()) if not p.name.startswith("."))
            found |= {p.name: p for p in folders if isfile(p / INFO)}
    return found


def find_model(name: str, user: Path | None = None) -> Path:
    """The folder of a model, by name or by path.

    :raises ModelError: if there is none; names the nearest.
    """
    models = list_models(user)
    if name in models:
        return models[name]
    if name and isdir(name):  # unlike Path's, it also says no to what no path can be
        return Path(name)
    hint = " A path to a model folder works too."
    if isfile(name):
        hint = f" A zip file is imported first: python -m MorseCore models import '{name}'."
    raise ModelError(
        f"There is no model '{shorten(name, most=_SHOWN)}'{nearest(name, models)}; known: "
        f"{', '.join(models) or 'none'}.{hint}"
    )


def import_model(source: Path, user: Path | None = None) -> tuple[Path, ModelInfo]:
    """Copy a model folder, or unpack a zip of one, into the user's models, once it is checked.

    :raises ModelError: if the source is no model, is damaged, or a model of that name exists.
    :raises OutputError: if the user's folder cannot be written to.
    """
    root = user or user_folder()
    if not exists(source):
        raise ModelError(f"There is no file or folder '{source}'.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root) as staged:
            info = _checked_copy(source, staged)
            target = root / info.name
            if target.exists():
                raise ModelError(
                    f"A model '{info.name}' is already there: '{target}'. Remove it first: "
                    f"python -m MorseCore models remove {info.name}."
                )
            replace_patiently(staged, target)
    except OSError as error:
        raise output_error(root, error) from error
    return target, info


def remove_model(name: str, user: Path | None = None) -> Path:
    """Delete an imported model; the folder that is gone.

    :raises ModelError: if no imported model is called so; one that came along stays.
    :raises OutputError: if it cannot be deleted.
    """
    root = user or user_folder()
    folder = root / name
    if Path(name).name != name or not isfile(folder / INFO):
        kind = "came with MorseCore and" if isfile(BUILT_IN / name / INFO) else "is unknown and"
        raise ModelError(f"'{name}' {kind} is no imported model; nothing is removed.")
    try:
        with temporary_folder(root) as staged:
            replace_patiently(folder, staged / name)  # gone at once, or not at all
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def hides_built_in(folder: Path) -> bool:
    """Whether an imported model has the name of one that came along, and takes its place."""
    return folder.parent != BUILT_IN and (BUILT_IN / folder.name / INFO).is_file()


def _checked_copy(source: Path, staged: Path) -> ModelInfo:
    _stage(source, staged)
    try:
        info = read_model(staged)
        load_network(staged, info)
    except ModelError as error:  # the person knows the source, not our hidden folder
        raise ModelError(str(error).replace(staged.name, source.name)) from None
    return info


def _stage(source: Path, staged: Path) -> None:
    if source.is_dir():
        _copy_folder(source, staged)
    elif source.is_file() and zipfile.is_zipfile(source):  # not a pipe, which one would wait for
        size, most = source.stat().st_size, sum(LARGEST.values())
        if size > most:
            raise ModelError(f"'{source}' may have {most:,} bytes; found {size:,}.")
        try:
            with zipfile.ZipFile(source) as archive:
                _unpack(archive, source, staged)
        except _UNZIP_ERRORS as error:
            raise ModelError(f"'{source}' cannot be unpacked: {error}.") from None
    else:
        raise ModelError(f"'{source}' is neither a model folder nor a zip file of one.")


def _copy_folder(source: Path, staged: Path) -> None:
    for name in LARGEST:
        path = source / name
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"'{source}' is no model folder: it lacks the file '{name}'.")
        check_file_size(path)
        shutil.copyfile(path, staged / name)


def _unpack(archive: zipfile.ZipFile, source: Path, staged: Path) -> None:
    """The three files of a model, wherever they lie in the archive; nothing else is unpacked."""
    entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > _MOST_ENTRIES:
        raise ModelError(
            f"'{source}' may hold {_MOST_ENTRIES:,} entries; found {len(archive.infolist()):,}."
        )
    for entry in archive.infolist():
        _check_entry(entry, source)
        entries[PurePosixPath(entry.filename)] = entry
    folders = [path.parent for path in entries if path.name == INFO]
    if len(folders) != 1:
        raise ModelError(f"'{source}' must hold exactly one {INFO}; found {len(folders)}.")
    for name, largest in LARGEST.items():
        if folders[0] / name not in entries:
            raise ModelError(f"'{source}' lacks the file '{name}'.")
        entry = entries[folders[0] / name]
        _check_unpacked(entry, largest, f"'{name}' in '{source}'")
        with archive.open(entry) as stream, (staged / name).open("wb") as target:
            shutil.copyfileobj(stream, target)


def _check_entry(entry: zipfile.ZipInfo, source: Path) -> None:
    """Refuse a whole archive for one entry that no honest packer writes."""
    path = PureWindowsPath(entry.filename)  # takes / and \ for separators
    if path.anchor or ".." in path.parts:
        raise ModelError(
            f"'{source}' holds an entry that leads out of its folder ('{entry.filename}'); "
            "such an archive is not trusted."
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ModelError(
            f"'{source}' holds a link ('{entry.filename}'); such an archive is not trusted."
        )


def _check_unpacked(entry: zipfile.ZipInfo, largest: int, what: str) -> None:
    """Refuse what would fill the disk; numbers that were trained hardly shrink when packed."""
    size = entry.file_size
    if size > largest:
        raise ModelError(f"{what} may have {largest:,} bytes; found {size:,}.")
    if size > max(_SMALL, _MOST_PACKED * entry.compress_size):
        raise ModelError(
            f"{what} would unpack from {entry.compress_size:,} to {size:,} bytes; such an archive "
            "is not trusted."
        )
