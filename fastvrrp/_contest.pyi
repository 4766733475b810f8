# Nothing for Python: the engine asks in C.
