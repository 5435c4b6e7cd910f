"""Extrinsics of several signers in one process, on a chain whose blocks come on demand."""

import threading
import time
from pathlib import Path

from assay.network.chain.connection import Connection
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.target import ChainTarget
from assay.network.chain.wallets import DevWallet
from assay.settings.loading import use_sdk_cache
from subtensor_devnet import Devnet, Seal


def test_a_signer_with_another_key_waits_for_nobody(tmp_path: Path) -> None:
    """Five miners of one process would else need five blocks, and the last come too late."""
    use_sdk_cache(tmp_path / "sdk")
    devnet = Devnet(tmp_path / "chain", seal=Seal.MANUAL, finality_lag=2)
    devnet.start()
    connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=60))
    sender = ExtrinsicSender(connection)
    blocks: dict[str, list[int]] = {"//Alice": [], "//Bob": []}

    def send(uri: str) -> None:
        remark = ("System", "remark", {"remark": "0x00"})
        blocks[uri].append(sender.send_call(remark, DevWallet(uri, uri), final=False).block)

    threads = [threading.Thread(target=send, args=(u,)) for u in ("//Alice", "//Alice", "//Bob")]
    for thread in threads:
        thread.start()
    for ready in (2, 1):  # Alice's second waits for her first
        deadline = time.monotonic() + 30
        while devnet.count_waiting() < ready and time.monotonic() < deadline:
            time.sleep(0.01)
        assert devnet.count_waiting() == ready
        devnet.new_blocks()
    for thread in threads:
        thread.join(30)
    connection.close()
    devnet.close()
    assert blocks == {"//Alice": [1, 2], "//Bob": [1]}
