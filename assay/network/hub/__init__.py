"""The Hub of Hugging Face, by its own client: downloads pinned files, and pushes folders.

`names` tells a repository's name from a path. `session` opens the client within limits: deadlines,
the least pace, the token. `download` fetches the chosen files (`selection`) of one commit, each
checked by its digest; `splits` tells which files of a data set are one split. `origin` keeps where
they came from. `push` replaces the files of a repository in one commit. Nothing here is asked of
the network unless a person names a repository.
"""

__all__ = ["download", "names", "origin", "push", "selection", "session", "splits"]
