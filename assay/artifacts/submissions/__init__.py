"""Submissions: a miner's file, and its way from the commitment to the verdict.

Start with `reading`: it runs a plan of `assay.verification`, which asks for parts of a file and
takes those that the root on chain binds. `reader` finds them in the miner's store or in mirrors,
`file` in one file, `pack` among parts that were read before. `read_ahead` reads files while the
judge works. `judge` combines reader, checkpoint and judge, `appeals` bounds second opinions, and
`judging_threads` runs several at a time. `mirror_writer` publishes the parts that were read, and
`mirror_list` lists the mirrors of others. `table` shows a file to people. Nothing here decides what
is accepted: `assay.verification` does.
"""

__all__ = [
    "appeals",
    "file",
    "judge",
    "judging_threads",
    "mirror_list",
    "mirror_writer",
    "pack",
    "read_ahead",
    "reader",
    "reading",
    "table",
]
