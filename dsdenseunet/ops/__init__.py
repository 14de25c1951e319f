"""Array functions: each fast form equals a plain reference to a stated tolerance."""
