"""From a scan to masks on its own grid."""
