"""The type checker that the tests run the package under: the annotations of every call are held against its values."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is to mypy
