"""A model is checked and copied by another process; the panel only hears how it went."""

import sys
from pathlib import Path
from typing import Any

import pytest

from listeners import children
from slicerqt import install, waitFor

install()

from MorseSegmentLib.worker.launch import Failure, WorkerCommand
from MorseSegmentLib.worker.modelimport import ModelImport


def listened(model: ModelImport) -> tuple[ModelImport, list[Failure | None]]:
    """With what it tells: None for a model that was imported."""
    got: list[Failure | None] = []
    model.signals.connect("imported", lambda: got.append(None))
    model.signals.connect("failed", got.append)
    return model, got


def an_import(code: str) -> tuple[ModelImport, list[Failure | None]]:
    """One whose process runs some Python instead of importing."""
    return listened(ModelImport(WorkerCommand(sys.executable, ("-c", code))))


def test_the_folder_of_a_chosen_model_json_is_imported(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = f"import sys; open({str(seen)!r}, 'w').write(' '.join(sys.argv[1:]))"
    for chosen, meant in (("m/model.json", "m"), ("m.zip", "m.zip")):
        model, got = an_import(code)
        model.start(str(tmp_path / chosen))
        waitFor(lambda got=got: bool(got))
        assert got == [None]
        assert seen.read_text() == f"models import {tmp_path / meant}"


def test_a_refusal_is_told_in_the_library_s_words() -> None:
    model, got = an_import("import sys; sys.exit('error: The weights were altered.')")
    model.start("/m.zip")
    waitFor(lambda: bool(got))
    assert [f.message for f in got if f] == ["The weights were altered."]


def test_a_program_that_is_not_there_is_told_once() -> None:
    model, got = listened(ModelImport(WorkerCommand("/no/such/python", ())))
    model.start("/m.zip")
    waitFor(lambda: bool(got))
    (failure,) = got
    assert failure is not None
    assert "/no/such/python" in failure.message


def test_stopping_ends_the_process_without_a_word() -> None:
    model, got = an_import("import time; time.sleep(60)")
    model.start("/m.zip")
    waitFor(lambda: bool(children()))
    model.stop()
    waitFor(lambda: not children(), seconds=5)
    assert got == []


def test_the_button_imports_what_was_chosen_and_lists_the_models_again(
    a_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    import qt

    dialog = types.SimpleNamespace(getOpenFileName=lambda *a: "/models/new.zip")
    monkeypatch.setattr(qt, "QFileDialog", dialog, raising=False)
    asked: list[str] = []
    panel = a_widget.panels.input
    monkeypatch.setattr(panel, "_importModel", asked.append)
    a_widget.ui.importModelButton.click()
    assert asked == ["/models/new.zip"]
    a_widget.ui.modelSelector.clear()
    a_widget.panels._onImported()
    waitFor(lambda: a_widget.ui.modelSelector.count > 0, seconds=30)
    assert "imported" in a_widget.ui.messageLabel.text
