"""Whether a result can be trusted, and what a cohort of results looks like."""
