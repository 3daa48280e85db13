"""Residual and normalisation schemes; importing the package lists all variants and loads no torch.

``place.py`` and ``variants.py`` say what a scheme is. ``families.py``, ``own_files.py``, ``composing.py`` and
``open_schemes.py`` are about all of them. Every other file is a family: its modules (torch) and, side by side with
them, the variants that use them (data).
"""

from lightning_modules.schemes.families import read_variants

read_variants()
