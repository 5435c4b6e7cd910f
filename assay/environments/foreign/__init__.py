"""Environments that others wrote: read, vetted and run in a sandbox.

A package is an archive of Python. Its SHA-256 names it, and each machine finds it among the files
that its operator names. Its code runs only inside the sandbox of programs, where there is nothing
to reach. Assay takes one thing from it: that an answer is wholly right. Start with
`package_environment`; `guest_archive` asks an archive, `package_world` plays episodes in one that
has turns, `vetting` says whether a package is fit to pay by, and `world_vetting` attacks worlds.
"""
