"""The twelve claims: what each says, what is measured of it, and the verdict that follows from a rule."""
