"""Tables, figures and pages about finished and running runs."""
