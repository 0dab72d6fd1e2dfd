"""When not to trust a result: signals and their limits; and what a cohort of results looks like."""
