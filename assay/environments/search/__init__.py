"""Questions about documents that a model searches: `search:SHA256`.

One file has the documents, and questions with their answers. `search_rows` reads it, `index` finds
the best documents for a query, and `search_file` asks the questions. A result is a reply, so it is
exact: whole numbers and ASCII, no floats, no stemmer, no table of Unicode.
"""
