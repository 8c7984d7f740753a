"""The paper's twelve claims: what each says, what is measured, and the verdict that follows by rule."""
