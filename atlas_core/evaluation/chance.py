"""When an accuracy is no better than guessing."""


def at_chance(accuracy: float, n_classes: int) -> bool:
    """Whether an accuracy (percent) among `n_classes` is a twentieth of the way from chance to 100 % or less.

    The views say the same in SQL (macro `at_chance`).
    """
    chance = 100.0 / n_classes
    return n_classes > 1 and accuracy <= chance + 0.05 * (100.0 - chance)
