"""The configuration of a study: its typed form, its JSON schema, and what is wrong with it."""
