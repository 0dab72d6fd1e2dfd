"""Parts of the studies: tables of trainings, resolution shifts, uncertainty, finer grids."""
