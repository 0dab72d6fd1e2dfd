"""The stand-ins accept what a running Slicer was measured to accept, and refuse the rest."""

import gc
from typing import Any

import pytest

from slicerqt import install, processEvents, waitFor

install()
import ctk
import qt
import slicer


def a_namespace() -> dict[str, Any]:
    """A widget of each kind, under short names."""
    box = qt.QWidget()
    box.setLayout(qt.QVBoxLayout())
    button = qt.QPushButton("go")
    button.objectName = "theButton"
    box.layout().addWidget(button)
    combo, spin, check = qt.QComboBox(), qt.QSpinBox(), qt.QCheckBox("on")
    combo.addItem("first", 7)
    return {
        "qt": qt, "ctk": ctk, "slicer": slicer, "box": box, "button": button, "combo": combo,
        "spin": spin, "check": check, "label": qt.QLabel("words"), "table": qt.QTableWidget(2, 3),
        "edit": qt.QPlainTextEdit(), "bar": qt.QProgressBar(), "timer": qt.QTimer(),
        "process": qt.QProcess(), "slider": ctk.ctkSliderWidget(), "numbers": __import__("numpy"),
        "collapsible": ctk.ctkCollapsibleButton(), "nodes": slicer.qMRMLNodeComboBox(),
        "settings": slicer.app.userSettings(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("button.text", "go"),
        ("button.property('text')", "go"),
        ("button.setProperty('text', 'x') and button.text", "x"),
        ("button.name", "theButton"),
        ("check.isChecked()", False),
        ("button.isEnabled()", True),
        ("combo.itemText(0)", "first"),
        ("combo.itemData(0)", 7),
        ("combo.count", 1),
        ("edit.plainText", ""),
        ("edit.toPlainText()", ""),
        ("timer.isActive()", False),
        ("table.rowCount", 2),
        ("table.currentRow()", -1),
        ("table.verticalScrollBar().value", 0),
        ("table.horizontalHeader().stretchLastSection", False),
        ("bar.text", ""),
        ("button.parent() is box", True),
        ("box.layout().spacing >= 0", True),
        ("box.findChild(qt.QPushButton, 'theButton') is button", True),
        ("box.findChild('QPushButton', 'theButton') is button", True),
        ("box.findChild(qt.QWidget, 'theButton') is button", True),
        ("box.findChild(qt.QWidget, 'other')", None),
        ("isinstance(box.findChildren(qt.QWidget), tuple)", True),
        ("box.theButton is button", True),
        ("isinstance(button, qt.QPushButton)", True),
        ("isinstance(button, qt.QWidget)", False),
        ("button.inherits('QWidget')", True),
        ("button.className()", "QPushButton"),
        ("button.blockSignals(True)", False),
        ("collapsible.collapsed", False),
        ("slider.maximum", 99.99),
        ("slider.pageStep", 10.0),
        ("nodes.currentNode()", None),
        ("nodes.nodeCount()", 0),
        ("nodes.showChildNodeTypes", True),
        ("process.state() == qt.QProcess.NotRunning", True),
        ("settings.value('absent', 4)", 4),
        ("isinstance(qt.Qt.AlignLeft, int)", True),
        ("qt.QShortcut(qt.QKeySequence('Ctrl+M'), box).enabled", True),
        ("process.write('text')", -1),
    ],
)
def test_a_form_that_works_in_slicer_gives_the_same_here(form: str, expected: Any) -> None:
    assert eval(form, a_namespace()) == expected


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("button.text()", TypeError),
        ("spin.value()", TypeError),
        ("check.checked()", TypeError),
        ("combo.count()", TypeError),
        ("box.objectName()", TypeError),
        ("button.txet", AttributeError),
        ("button.isCheked()", AttributeError),
        ("combo.currentData()", TypeError),
        ("collapsible.setCollapsed(True)", AttributeError),
        ("collapsible.isCollapsed()", AttributeError),
        ("slider.setRange(0, 5)", AttributeError),
        ("nodes.currentText", AttributeError),
        ("nodes.count", AttributeError),
        ("nodes.currentIndex", AttributeError),
        ("qt.QPushButton('a', parent=box)", ValueError),
        ("qt.QCheckBox(text='x')", ValueError),
        ("settings.value('k', 0, type=int)", ValueError),
        ("settings.value('k', 0, bool)", ValueError),
        ("qt.QShortcut('Ctrl+M', box)", ValueError),
        ("qt.Qt.CTRL", AttributeError),
        ("qt.Signal", AttributeError),
        ("box.findChildren()", ValueError),
        ("table.setItem(0, 0, 'text')", ValueError),
        ("button.noSuchSignal.connect(print)", AttributeError),
        ("slicer.util.findChild(box, 'other')", RuntimeError),
        ("bytes(process.readAllStandardOutput())", TypeError),
    ],
)
def test_a_form_that_fails_in_slicer_fails_here(form: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        eval(form, a_namespace())


@pytest.mark.parametrize(
    ("assignment", "form", "expected"),
    [
        ("button.text = 5", "button.text", "5"),
        ("button.text = None", "button.text", "None"),
        ("button.enabled = 'False'", "button.enabled", True),
        ("button.enabled = None", "button.enabled", False),
        ("spin.value = 3.7", "spin.value", 3),
        ("spin.value = numbers.int64(4)", "spin.value", 4),
        ("button.toolTip = 'tip'", "button.toolTip", "<p>tip</p>"),
        ("slider.decimals = 0; slider.value = 12.6", "slider.value", 12.6),
        ("slider.singleStep = 0.001", "slider.singleStep", 1.0),
        ("slider.maximum = 5; slider.value = 9", "slider.value", 5.0),
        (
            "collapsible.checkable = True; collapsible.checked = True",
            "collapsible.collapsed",
            False,
        ),
        ("collapsible.collapsed = True", "collapsible.collapsed", True),
        ("bar.value = 500", "bar.value", -1),
        ("nodes.nodeTypes = ['vtkMRMLModelNode']", "nodes.nodeTypes", ("vtkMRMLModelNode",)),
        ("settings.setValue('list', [1, 2])", "settings.value('list')", (1, 2)),
    ],
)
def test_a_property_is_converted_as_in_slicer(assignment: str, form: str, expected: Any) -> None:
    names = a_namespace()
    exec(assignment, names)
    assert eval(form, names) == expected


@pytest.mark.parametrize(
    "assignment",
    ["button.txet = 1", "spin.value = '4'", "nodes.curentNode = None", "timer.singleShot = True",
     "qt.QColor().red = 4", "slider.vlaue = 1"],
)  # fmt: skip
def test_a_property_that_does_not_exist_cannot_be_set(assignment: str) -> None:
    with pytest.raises(AttributeError):
        exec(assignment, a_namespace())


def test_a_click_passes_false_to_as_many_arguments_as_the_slot_takes() -> None:
    got: list[Any] = []
    button = qt.QPushButton()
    assert button.clicked.connect(lambda: got.append("none"))
    assert button.clicked.connect(lambda x: got.append(x))
    assert button.clicked.connect(lambda x=7: got.append(x))
    assert button.clicked.connect(lambda *a: got.append(a))
    assert button.connect("clicked()", lambda x=7: got.append(x))
    button.click()
    assert got == ["none", False, False, (False,), 7]


def test_an_unknown_signal_is_not_connected_and_raises_nothing() -> None:
    button, nodes = qt.QPushButton(), slicer.qMRMLNodeComboBox()
    assert button.connect("clicked(bool)", print) is True
    for wrong in ("klicked()", "clicked", "clicked(int)"):
        assert button.connect(wrong, print) is False
    assert nodes.connect("currentNodeChanged(vtkMRMLNode*)", print) is True
    assert nodes.connect("currentNodeChanged()", print) is False


def test_a_slot_that_fails_does_not_stop_the_next_one(no_slot_fails: list[str]) -> None:
    got: list[int] = []
    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    button.connect("clicked()", lambda needed: got.append(0))
    button.clicked.connect(lambda: got.append(1))
    button.click()
    assert got == [1]
    assert len(no_slot_fails) == 2
    no_slot_fails.clear()


def test_a_slot_is_disconnected_once_asked_to() -> None:
    got: list[int] = []
    button = qt.QPushButton()
    slot = lambda: got.append(1)  # noqa: E731
    button.clicked.connect(slot)
    button.connect("clicked(bool)", slot)
    button.click()
    assert got == [1, 1]
    assert button.disconnect("clicked(bool)", slot)
    button.click()
    assert got == [1, 1]


def test_a_process_passes_the_code_alone_unless_asked_for_both() -> None:
    got: list[Any] = []
    process = qt.QProcess()
    process.finished.connect(lambda *a: got.append(a))
    process.connect("finished(int,QProcess::ExitStatus)", lambda *a: got.append(a))
    process.start("sh", ("-c", "echo hello; exit 3"))
    waitFor(lambda: len(got) == 2)
    assert got == [(3,), (3, 0)]
    assert process.readAllStandardOutput().data() == b"hello\n"


def test_a_missing_program_is_reported_by_a_signal() -> None:
    got: list[int] = []
    process = qt.QProcess()
    assert process.connect("errorOccurred(QProcess::ProcessError)", got.append)
    process.start("/no/such/program", [])
    waitFor(lambda: bool(got))
    assert got == [qt.QProcess.FailedToStart] == [0]


def test_a_timer_without_a_reference_never_fires() -> None:
    got: list[int] = []

    def forget() -> None:
        timer = qt.QTimer()
        timer.connect("timeout()", lambda: got.append(1))
        timer.start(1)

    forget()
    gc.collect()
    qt.QTimer.singleShot(30, lambda: got.append(2))
    waitFor(lambda: 2 in got)
    assert got == [2]


def test_a_deleted_widget_is_false_and_answers_nothing() -> None:
    button = qt.QPushButton("x")
    button.delete()
    assert not button
    with pytest.raises(ValueError, match="destroyed"):
        _ = button.text
    with pytest.raises(AttributeError):
        button.text = "y"


def test_a_deferred_deletion_happens_with_the_events() -> None:
    button = qt.QPushButton("x")
    button.deleteLater()
    assert button
    processEvents()
    assert not button


def a_volume(scene: Any, name: str) -> Any:
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def a_volume_selector(*, noneEnabled: bool) -> Any:
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = noneEnabled
    return selector


def test_a_node_chosen_before_there_is_a_scene_is_forgotten(a_scene: Any) -> None:
    selector, node = a_volume_selector(noneEnabled=True), a_volume(a_scene, "A")
    selector.setCurrentNode(node)
    selector.setMRMLScene(a_scene)
    assert selector.currentNode() is None
    selector.setCurrentNode(node)
    assert selector.currentNode() is node
    selector.setCurrentNodeID("unknown")
    assert selector.currentNode() is None


def test_the_first_node_is_chosen_with_the_scene_and_not_later(a_scene: Any) -> None:
    early, late = (a_volume_selector(noneEnabled=False) for _ in range(2))
    late.setMRMLScene(a_scene)
    node = a_volume(a_scene, "A")
    early.setMRMLScene(a_scene)
    assert early.currentNode() is node
    assert late.currentNode() is None


def test_removing_the_chosen_node_jumps_to_another_one(a_scene: Any) -> None:
    first, second = a_volume(a_scene, "A"), a_volume(a_scene, "B")
    selector = a_volume_selector(noneEnabled=True)
    selector.setMRMLScene(a_scene)
    selector.setCurrentNode(first)
    got: list[Any] = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    a_scene.RemoveNode(first)
    assert got == [second]


def test_label_maps_are_offered_as_volumes_unless_switched_off(a_scene: Any) -> None:
    a_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    selector = a_volume_selector(noneEnabled=True)
    selector.setMRMLScene(a_scene)
    assert selector.nodeCount() == 1
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 0
