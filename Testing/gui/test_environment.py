"""What is missing, what a person is asked, and what is then installed."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import slicer

from slicerqt import install

install()

from MorseCore.errors import MorseError
from MorseSegmentLib.worker import install as environment
from MorseSegmentLib.worker.catalog import Catalog
from MorseSegmentLib.worker.install import REQUIREMENTS, consentText, missing, report, statusText

ROOT = Path(__file__).parents[2]


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these packages be missing."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in names else real(name)
    )


def test_what_the_worker_needs_is_what_the_library_needs() -> None:
    tomllib = pytest.importorskip("tomllib", reason="NOT TESTED: needs Python 3.11")
    with (ROOT / "pyproject.toml").open("rb") as stream:
        needed = tomllib.load(stream)["project"]["dependencies"]
    assert sorted(f"{item.name}{item.versions}" for item in REQUIREMENTS) == sorted(needed)


def test_what_is_missing_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() == []
    lacking(monkeypatch, "torch", "tqdm")
    assert [item.name for item in missing()] == ["tqdm", "torch"]


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [("2.2.2", False), ("2.9.1", False), ("2.10.0+cu128", True), ("2.13.0", True), ("3.0", False)],
)
def test_a_package_of_another_version_is_missing_too(
    a_widget: Any, monkeypatch: pytest.MonkeyPatch, version: str, is_fine: bool
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name == "torch" else real(name)
    )
    assert [item.name for item in missing()] == ([] if is_fine else ["torch"])
    panel = a_widget.panels.environment
    panel.setFailure(None)
    panel.setCatalog(Catalog())
    assert a_widget.ui.installButton.enabled == (not is_fine)
    told = "Needed: torch >=2.10,<3" in a_widget.ui.environmentLabel.text
    assert told == (not is_fine)


def test_a_package_that_does_not_tell_its_version_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    assert missing() == []


def test_a_half_installed_package_does_not_stop_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: None)
    assert missing() == []


def test_with_another_python_nothing_is_asked_of_slicer_s(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, "torch")
    monkeypatch.setenv("MORSESEGMENT_PYTHON", "/opt/other/python")
    assert missing() == []


def test_on_a_mac_the_way_out_is_named(
    installers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(monkeypatch, "torch")
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    with pytest.raises(MorseError, match=r"Intel processors.*MORSESEGMENT_PYTHON"):
        environment.install(missing())
    assert installers == []


def test_the_question_names_packages_size_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, "torch")
    text = consentText(missing())
    for word in ("torch", "GB", "site-packages"):
        assert word in text


@pytest.fixture
def installers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be installed, instead of installing it."""
    calls: list[Any] = []

    class Logic:
        def installTorch(self, askConfirmation: bool, torchVersionRequirement: str) -> Any:
            calls.append(("torch", askConfirmation, torchVersionRequirement))
            return object()

    torchUtils = types.ModuleType("PyTorchUtils")
    torchUtils.PyTorchUtilsLogic = Logic  # type: ignore[attr-defined]
    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_install = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PyTorchUtils", torchUtils)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    return calls


def test_torch_comes_from_slicer_s_extension_and_the_rest_from_its_installer(
    installers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(monkeypatch, "torch", "safetensors")
    environment.install(missing())
    assert installers == [("torch", False, ">=2.10,<3"), ["safetensors>=0.5"]]


def test_without_the_extension_the_message_says_what_to_do(
    installers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    lacking(monkeypatch, "torch")
    with pytest.raises(MorseError, match="Extensions Manager"):
        environment.install(missing())


@pytest.mark.parametrize("agrees", [True, False])
def test_the_button_asks_once_and_installs_only_after_consent(
    a_widget: Any, installers: list[Any], monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    from MorseSegmentLib.worker.launch import Failure

    asked: list[str] = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or agrees
    )
    assert not a_widget.ui.installButton.enabled
    stopped: list[bool] = []
    monkeypatch.setattr(a_widget.panels.environment, "_stop", lambda: stopped.append(True))
    lacking(monkeypatch, "safetensors")
    a_widget.panels.environment.setFailure(Failure("The package is missing.", "", "MissingPackage"))
    assert not a_widget.ui.environmentCollapsibleButton.collapsed
    a_widget.ui.installButton.click()
    assert len(asked) == 1
    assert installers == ([["safetensors>=0.5"]] if agrees else [])
    assert stopped == ([True] if agrees else [])  # before, as it holds what it has imported


WITH_GPU = Catalog(
    devices=(
        ("auto", "Auto (cuda:0)"),
        ("cuda:0", "Card, 3.0 of 8.0 GiB free"),
        ("cpu", "CPU, 4 threads, 2.5 of 16.0 GiB free"),
    ),
    versions=(
        ("MorseSegment", "0.1.0"),
        ("torch", "2.13.0+cu130"),
        ("cuda", "13.0"),
        ("driver", "550.54.15"),
    ),
)


def test_the_status_row_names_slicer_torch_gpu_driver_and_memory(
    a_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicer.app, "applicationVersion", "5.12.4", raising=False)
    a_widget.panels.environment.setCatalog(WITH_GPU)
    assert a_widget.ui.environmentLabel.text.splitlines() == [
        "Slicer 5.12.4, MorseSegment 0.1.0",
        "torch 2.13.0+cu130, CUDA 13.0",
        "GPU: Card, 3.0 of 8.0 GiB free",
        "Graphics driver: 550.54.15",
        "CPU, 4 threads, 2.5 of 16.0 GiB free",
        "All packages that are needed are there.",
    ]


def test_what_is_absent_is_said_as_absent() -> None:
    text = statusText(Catalog(devices=(("cpu", "CPU, 4 threads, memory unknown"),)))
    assert "GPU: none that torch can use" in text
    assert "Graphics driver: unknown" in text
    assert "memory unknown" in text


def test_the_copied_report_holds_what_the_status_row_says(a_widget: Any) -> None:
    import qt

    a_widget.panels.environment.setCatalog(WITH_GPU)
    a_widget.ui.copyReportButton.click()
    text = qt.QApplication.clipboard().text()
    for part in ("torch: 2.13.0+cu130", "driver: 550.54.15", "Device cuda:0: Card, 3.0 of 8.0"):
        assert part in text


def test_a_report_names_no_folder_of_the_person() -> None:
    text = report(WITH_GPU, "", "a line")
    assert "Device cpu: CPU" in text
    assert str(Path.home()) not in text


def test_opening_the_module_imports_no_torch() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import slicerqt; slicerqt.install()\n"
        "import panel; widget = panel.load_module().MorseSegmentWidget(); widget.setup()\n"
        "assert not {'torch', 'SimpleITK', 'scipy'} & set(sys.modules)\n"
        "widget.cleanup()"
    )
    folders = [str(Path(__file__).parent), str(ROOT), str(ROOT / "MorseSegment")]
    run = subprocess.run(
        [sys.executable, "-c", code, *folders],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert run.returncode == 0, run.stderr
