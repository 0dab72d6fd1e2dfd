"""The parts of the module's panel; each connects the widgets of its section."""
