"""Further requests to the field of a result, each with a way back. No Qt."""
