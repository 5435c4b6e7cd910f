"""Engines that draft for a miner: other people's inference servers, reached over HTTP.

Start with `serving`. `engine` is one server, `drafter` distributes rows over several,
and `process` starts servers on this machine, which `process_guard` ends with the miner. No
server is trusted: its answer is a draft, and the reference reads every token of it. This package
never commits, never uploads and reads no settings.
"""

from assay.neurons.miner.engines.process import EngineCommand
from assay.neurons.miner.engines.serving import AUTO, MinerEngines, open_engines, require_engines

__all__ = ["AUTO", "EngineCommand", "MinerEngines", "open_engines", "require_engines"]
