"""Grad-CAM and its relatives, as functions of a recorded pass; and the table of the layers to take them at."""
