"""How loops trained, as tables, plots, a section of a run's page or a page of its own."""
