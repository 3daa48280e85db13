"""How fast training is and how much memory it takes, compared with other people's code: a verb in a leaf package."""
