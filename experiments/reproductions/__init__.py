"""Published results measured again: claim files, measurements, rules, verdicts and figures.

One result is one module name in three folders: ``measures`` (PyTorch: seed and setup to measurements), ``rules``
(measurements to the numbers that the claim file's thresholds speak of) and ``figures``.
"""
