"""Published results measured again, and what padding does: one file per study (``python -m experiments.studies``).

A file ``t<number>_<name>.py`` holds one published result whole: setup, measurement, the quantities that its rule
bounds, and its figure. Its claim, with the rule, is a YAML file in ``experiments/claims/published``.
"""
