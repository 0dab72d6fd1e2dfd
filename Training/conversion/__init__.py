"""Public data sets, as downloaded, brought to the Decathlon layout."""
