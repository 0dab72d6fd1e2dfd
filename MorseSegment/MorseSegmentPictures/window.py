"""A window without a screen that Slicer's displayable managers draw into."""

from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support
from vtkmodules import vtkRenderingOpenGL2

__all__ = ["OffscreenView"]


class OffscreenView:
    """A window without a screen, with the managers that fill it from the scene.

    It stays connected to the scene until :meth:`close`.
    """

    logic: vtk.vtkObject
    node: vtk.vtkObject

    def __init__(self, size: tuple[int, int]) -> None:
        # EGL needs no display server; elsewhere the platform's window renders off screen too.
        windowClass = getattr(vtkRenderingOpenGL2, "vtkEGLRenderWindow", vtk.vtkRenderWindow)
        self.window = windowClass()
        self.window.SetOffScreenRendering(True)
        # Depth peeling of translucent surfaces needs alpha planes and no multi-sampling:
        # otherwise they vanish.
        self.window.SetAlphaBitPlanes(True)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.applicationLogic = slicer.app.applicationLogic()

    def _addManagers(
        self, factory: vtk.vtkObject, names: tuple[str, ...], style: vtk.vtkObject
    ) -> None:
        factory.SetMRMLApplicationLogic(self.applicationLogic)
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.style = style
        self.style.SetDisplayableManagers(self.managers)

    def close(self) -> None:
        """Release the window and take the view's nodes and logic out of the scene."""
        own = self._ownNodes()
        self.managers.SetMRMLDisplayableNode(None)
        for logics in (
            self.applicationLogic.GetSliceLogics(),
            self.applicationLogic.GetViewLogics(),
        ):
            logics.RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)  # first, or it makes the removed nodes again
        for node in own:
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        self.window.Finalize()

    def _ownNodes(self) -> list[vtk.vtkObject]:
        return [self.node]

    def render(self) -> None:
        """Draw the current scene."""
        self.window.Render()

    def annotate(self, text: str, *, color: tuple[float, float, float]) -> None:
        """Write small text into the upper left corner; Slicer's ruler is below."""
        actor = vtk.vtkTextActor()
        actor.SetInput(text)
        actor.SetPosition(12, self.window.GetSize()[1] - 10)
        style = actor.GetTextProperty()
        style.SetVerticalJustificationToTop()
        style.SetFontSize(20)  # of 700 pixels; a figure shows a view at half that size
        style.SetColor(*color)
        style.SetBackgroundColor(*(1.0 - channel for channel in color))
        style.SetBackgroundOpacity(0.6)
        self.renderer.AddViewProp(actor)

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8 RGB of the current scene, first row on top."""
        self.render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return values.reshape(height, width, 3)[::-1].copy()

    def save(self, path: Path) -> Path:
        """Write the current scene as a PNG; returns ``path``."""
        writer = vtk.vtkPNGWriter()
        image = vtk.vtkImageData()
        rows = np.ascontiguousarray(self.pixels()[::-1])
        image.SetDimensions(rows.shape[1], rows.shape[0], 1)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(rows.reshape(-1, 3), deep=True))
        writer.SetInputData(image)
        writer.SetFileName(str(path))
        writer.Write()
        return path
