"""An environment from the words of a person. Imports no model: `assay env` answers at once."""

from assay.environments import Environment, make_environment, parse_choice
from assay.neurons.settings.schema import ConfigError


def open_text(text: str) -> Environment:
    """An environment as a person writes it: `sat`, or `sat,k=4`.

    Raises:
        ConfigError: it cannot be read so, there is no such environment, or a setting is not one of
            its own.
    """
    try:
        return make_environment(*parse_choice(text))
    except ValueError as error:
        raise ConfigError(str(error)) from None
