"""Of ctypes what sympy asks: the size of C's long, as on common machines."""

c_long = "long"


def sizeof(_):
    return 8
