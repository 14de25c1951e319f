"""Tables, figures and pages from result JSON and NIfTI only; no model is ever run here."""
