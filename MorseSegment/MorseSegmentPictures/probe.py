"""Whether this machine can render off screen, found out in a process of its own.

Without a working driver, VTK may end the process or silently draw nothing; neither can be caught
as an exception. Run as a file: exit code 0 means that a red disc came out red on black.
"""

import subprocess
import sys

__all__ = ["INSTALL_HINT", "canRender"]

INSTALL_HINT = (
    "Off-screen rendering needs OpenGL through EGL; on Debian or Ubuntu install it with: "
    "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"
)


def canRender(timeout: float = 60.0) -> bool:
    """Draw one disc in another process, at most ``timeout`` seconds."""
    try:
        probe = subprocess.run([sys.executable, __file__], capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def _drawDisc() -> bool:
    import vtk
    from vtkmodules import vtkRenderingOpenGL2

    source = vtk.vtkSphereSource()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(1.0, 0.0, 0.0)
    actor.GetProperty().LightingOff()
    renderer = vtk.vtkRenderer()
    renderer.AddActor(actor)
    window = getattr(vtkRenderingOpenGL2, "vtkEGLRenderWindow", vtk.vtkRenderWindow)()
    window.SetOffScreenRendering(True)
    window.SetSize(32, 32)
    window.AddRenderer(renderer)
    window.Render()
    pixels = vtk.vtkUnsignedCharArray()
    window.GetPixelData(0, 0, 31, 31, 0, pixels, 0)
    if pixels.GetNumberOfTuples() != 32 * 32:
        return False
    middle, corner = pixels.GetTuple(16 * 32 + 16), pixels.GetTuple(0)
    return middle[0] > 200 and middle[1] < 50 and max(corner) < 50


if __name__ == "__main__":
    sys.exit(0 if _drawDisc() else 1)
