"""When not to trust a result: signals, what they say, and how their limits are found."""
