# Nothing to generate or to pack for a Slicer that is not there.
