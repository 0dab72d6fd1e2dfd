"""What lies behind ``uncertainty.py`` and ``finer_grid.py``: measures, tables and pictures."""
