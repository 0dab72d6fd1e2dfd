"""The studies: tables of trainings, resolution shifts, uncertainty, finer grids, pictures."""
