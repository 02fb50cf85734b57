"""The contract language: from the text of a contracts file to an immutable model, and classes made from it.

Knows no bytes: imports no struct, asyncio or socket, and only `source` imports yaml.
"""
