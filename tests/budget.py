"""How far searches go: little by default, far with `pytest --hypothesis-profile=search`."""

from hypothesis import HealthCheck, settings

SEARCH = "search"


def register() -> None:
    """Makes the profile known to pytest's command line."""
    settings.register_profile(
        SEARCH,
        max_examples=2000,
        stateful_step_count=80,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def budget(examples: int, steps: int) -> settings:
    """The settings of one search: the same examples each time, unless searching was asked for."""
    if settings.get_current_profile_name() == SEARCH:
        return settings.get_profile(SEARCH)
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
