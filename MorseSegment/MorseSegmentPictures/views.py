"""Slice and 3D views drawn off screen by Slicer's own displayable managers."""

import numpy as np
import slicer
import vtk

from MorseSegmentPictures.window import OffscreenView

__all__ = ["SliceView", "ThreeDView"]

_SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


class SliceView(OffscreenView):
    """One slice through the scene.

    Example::

        with closing(SliceView("Red", orientation="Axial")) as view:
            view.showVolume(volumeNode)
            view.frame(corners, through=np.array([0.0, 12.5, 3.0]))
            view.save(Path("axial.png"))

    :param orientation: "Axial", "Coronal" or "Sagittal".
    :param size: width and height in pixels.
    """

    def __init__(
        self, name: str, *, orientation: str = "Axial", size: tuple[int, int] = (700, 700)
    ) -> None:
        super().__init__(size)
        self._addImageActor()
        self._addManagers(
            slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(),
            _SLICE_MANAGERS,
            slicer.vtkMRMLSliceViewInteractorStyle(),
        )
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self.applicationLogic)
        self.applicationLogic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(True)
        self.style.SetSliceLogic(self.logic)
        self.style.SetInteractor(self.interactor)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.logic.ResizeSliceNode(*size)

    def _addImageActor(self) -> None:
        # Before the managers add theirs: actors are drawn in this order, and an image that came
        # later would lie over the segmentations.
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.imageActor = vtk.vtkActor2D()
        self.imageActor.SetMapper(self.mapper)
        self.imageActor.GetProperty().SetDisplayLocationToBackground()
        self.imageActor.VisibilityOff()
        self.renderer.AddViewProp(self.imageActor)

    def _ownNodes(self) -> list[vtk.vtkObject]:
        return [
            self.logic.GetSliceCompositeNode(),
            self.logic.GetSliceDisplayNode(),
            self.logic.GetSliceModelNode(),
            self.logic.GetSliceModelTransformNode(),
            self.node,
        ]

    def showVolume(self, volumeNode: vtk.vtkObject) -> None:
        """Show the volume in the background, along its own axes, as a whole."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
        self.node.RotateToVolumePlane(volumeNode)
        self.logic.FitSliceToBackground()

    def frame(
        self,
        positions: np.ndarray,
        *,
        through: np.ndarray,
        margin: float = 1.2,
        smallest: float = 1.0,
    ) -> None:
        """Cut through a point and zoom so that positions fit in; (N, 3) and (3,), RAS mm.

        :param margin: shown width over the width of the positions.
        :param smallest: least width to show, mm.
        """
        sliceToRAS = slicer.util.arrayFromVTKMatrix(self.node.GetSliceToRAS())
        right, up, normal = sliceToRAS[:3, :3].T
        across, along = positions @ right, positions @ up
        columns, rows = self.window.GetSize()
        width = max(smallest, margin * max(np.ptp(across), np.ptp(along) * columns / rows))
        centre = (
            right * (across.min() + across.max()) / 2
            + up * (along.min() + along.max()) / 2
            + normal * (through @ normal)
        )
        _, _, depth = self.node.GetFieldOfView()
        self.node.SetFieldOfView(width, width * rows / columns, depth)
        self.node.JumpSliceByCentering(*centre)

    def normal(self) -> np.ndarray:
        """(3,) unit vector across the slice, RAS."""
        return slicer.util.arrayFromVTKMatrix(self.node.GetSliceToRAS())[:3, 2]

    def pixelOf(self, position: tuple[float, float, float]) -> tuple[int, int]:
        """Row and column in :meth:`pixels` of a point of the slice, RAS mm."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        column, fromBelow, *_ = inverse.MultiplyPoint((*position, 1.0))
        return self.window.GetSize()[1] - 1 - round(fromBelow), round(column)

    def render(self) -> None:
        """Draw the current scene."""
        image = self.logic.GetImageDataConnection()
        if image is not None:
            self.mapper.SetInputConnection(image)
        self.imageActor.SetVisibility(image is not None)
        super().render()


class ThreeDView(OffscreenView):
    """The scene in perspective.

    :param size: width and height in pixels.
    """

    def __init__(self, name: str, *, size: tuple[int, int] = (700, 700)) -> None:
        super().__init__(size)
        self._addManagers(
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(),
            _THREE_D_MANAGERS,
            slicer.vtkMRMLThreeDViewInteractorStyle(),
        )
        self.renderer.SetUseDepthPeeling(True)
        self.style.SetInteractor(self.interactor)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(self.applicationLogic)
        self.applicationLogic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddViewNode(name)
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.node.SetMappedInLayout(True)
        self.managers.SetMRMLDisplayableNode(self.node)

    def _ownNodes(self) -> list[vtk.vtkObject]:
        return [self._cameraNode(), self.node]

    def _cameraNode(self) -> vtk.vtkObject:
        manager = self.managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        return manager.GetCameraNode()

    def fit(self, *, azimuth: float = 0.0, elevation: float = 0.0, zoom: float = 1.0) -> None:
        """Look from the front at everything visible; angles in degrees."""
        cameraNode = self._cameraNode()
        cameraNode.RotateTo(slicer.vtkMRMLCameraNode.Anterior)
        camera = cameraNode.GetCamera()
        camera.Azimuth(azimuth)
        camera.Elevation(elevation)
        camera.OrthogonalizeViewUp()
        bounds = [0.0] * 6
        self.renderer.ComputeVisiblePropBounds(bounds)
        self.renderer.ResetCamera(bounds)
        camera.Zoom(zoom)
        self.renderer.ResetCameraClippingRange()
