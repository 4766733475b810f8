# Nothing for Python; see _wire.pyi for its face.
