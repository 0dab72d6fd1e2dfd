"""Scores of masks against references: overlap, surface distances, tables, paired comparison."""
