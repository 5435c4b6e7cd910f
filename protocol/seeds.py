"""Seeds: from a block hash and a beacon down to one rollout. Each is 32 bytes.

The only thing in a seed that a miner can choose is its hotkey, and it must hold that before the
challenge exists. Specification, sections 2, 3, 6 and 8.
"""

from assay.protocol.hashing import Domain, hash_fields


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def compute_challenge_seed(
    parameters_digest: bytes,
    environment_digest: bytes,
    window: int,
    checkpoint_digest: bytes,
    block_hash: bytes,
    randomness: bytes,
) -> bytes:
    """The window's seed: `block_hash` of its first block, `randomness` of that block's round."""
    return hash_fields(
        Domain.CHALLENGE,
        parameters_digest,
        environment_digest,
        window.to_bytes(8, "big"),
        checkpoint_digest,
        block_hash,
        randomness,
    )


def compute_audit_seed(challenge_seed: bytes, randomness: bytes) -> bytes:
    """The audit's seed: `randomness` of the round named by block w·L + AUDIT_OFFSET."""
    return hash_fields(Domain.AUDIT, challenge_seed, randomness)


def compute_sample_seed(challenge_seed: bytes, randomness: bytes) -> bytes:
    """The samples' seed: `randomness` of the round named by block w·L + SAMPLE_OFFSET."""
    return hash_fields(Domain.SAMPLE, challenge_seed, randomness)


def compute_problem_seed(challenge_seed: bytes, hotkey: bytes, index: int) -> bytes:
    """Seed of a miner's `index`-th problem. It determines both prompt and answer."""
    return hash_fields(Domain.PROBLEM, challenge_seed, hotkey, _u32(index))


def compute_block_seed(challenge_seed: bytes, hotkey: bytes, number: int) -> bytes:
    """Seed of the levels of a miner's `number`-th block of problems."""
    return hash_fields(Domain.BLOCK, challenge_seed, hotkey, _u32(number))


def compute_rollout_seed(challenge_seed: bytes, hotkey: bytes, index: int, rollout: int) -> bytes:
    """Seed of one rollout: the noise of every token it draws."""
    return hash_fields(Domain.ROLLOUT, challenge_seed, hotkey, _u32(index), _u32(rollout))


def compute_projection_seed(challenge_seed: bytes) -> bytes:
    """Key of the sketch's projection, one for all miners of a window."""
    return hash_fields(Domain.PROJECTION, challenge_seed)


def compute_witness_seed(audit_seed: bytes, validator: bytes) -> bytes:
    """Key of the projection that shows who ran the forward passes. `validator` is its hotkey."""
    return hash_fields(Domain.VALIDATOR_PROJECTION, audit_seed, validator)


def compute_positions_seed(audit_seed: bytes, hotkey: bytes, index: int, rollout: int) -> bytes:
    """Seed of the positions at which a rollout's log-probabilities are compared."""
    return hash_fields(Domain.POSITIONS, audit_seed, hotkey, _u32(index), _u32(rollout))


def compute_groups_seed(audit_seed: bytes, hotkey: bytes) -> bytes:
    """Seed of the choice of audited groups. It leaves the root out: otherwise a miner could grind
    it."""
    return hash_fields(Domain.AUDIT_GROUPS, audit_seed, hotkey)


def compute_rollouts_seed(audit_seed: bytes, hotkey: bytes, index: int) -> bytes:
    """Seed of the choice of audited rollouts within one group."""
    return hash_fields(Domain.AUDIT_ROLLOUTS, audit_seed, hotkey, _u32(index))


def compute_samples_seed(sample_seed: bytes, hotkey: bytes) -> bytes:
    """Seed of the choice of sampled rollouts."""
    return hash_fields(Domain.SAMPLED_ROLLOUTS, sample_seed, hotkey)
