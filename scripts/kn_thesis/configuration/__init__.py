"""Define, read and check the configuration of a study."""
