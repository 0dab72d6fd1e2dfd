"""A loaded model that answers one question after another: the session and its worker process."""
