"""A module that DAGs of several teams share."""

PLACES = ["Aachen", "Bonn", "Dresden"]
