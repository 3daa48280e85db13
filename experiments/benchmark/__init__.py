"""How fast training is and how much memory it takes, beside other people's code: the verb and all that it needs."""
