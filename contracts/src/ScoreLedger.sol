// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {ISr25519Verify, SR25519_VERIFY} from "./interfaces/ISr25519Verify.sol";

/// @title Assay's score ledger
/// @notice What each validator of a subnet settled, written once and never again. Nobody owns this
/// contract, nobody can change it, and it holds no money.
/// @dev A score is in the event's root and not in storage: one slot a settlement, however many
/// miners. Trees are OpenZeppelin's StandardMerkleTree over (bytes32 hotkey, uint256 score).
contract ScoreLedger {
    /// @notice What a validator says of one settlement.
    /// @param scoreRoot Merkle root over (hotkey, score) of every miner.
    /// @param recordDigest Digest of the public record that the scores follow from.
    /// @param checkpoint Digest of the model in force in the settlement's last window.
    /// @param auditRound Beacon round that chose what was audited in that window.
    /// @param weightsDigest keccak256 over (uid, weight), u16 big endian each, uid ascending, zero
    /// weights left out: what the validator sends to the chain.
    struct Entry {
        bytes32 scoreRoot;
        bytes32 recordDigest;
        bytes32 checkpoint;
        uint64 auditRound;
        bytes32 weightsDigest;
    }

    /// @dev One slot. A nonce never returns, so neither does a signature.
    struct Binding {
        address poster;
        uint96 nonce;
    }

    /// @notice First field of every message that binds: a signature for this serves nothing else.
    bytes32 public constant BINDING_DOMAIN = keccak256("assay/v1/evm-binding");

    /// @notice The address that posts for a validator's hotkey, and how often it was bound.
    mapping(bytes32 hotkey => Binding) public bindings;

    /// @notice keccak256(abi.encode(entry)) of a settlement, zero where none was posted: netuid,
    /// validator's hotkey, block of the epoch.
    mapping(uint16 netuid => mapping(bytes32 hotkey => mapping(uint64 epoch => bytes32))) public
        digests;

    event Bound(bytes32 indexed hotkey, address indexed poster, uint96 nonce);

    event Posted(uint16 indexed netuid, bytes32 indexed hotkey, uint64 indexed epoch, Entry entry);

    error BindingExpired(uint256 expiry);
    error SignatureRefused();
    error PrecompileFailed(address precompile);
    error NotThePoster(bytes32 hotkey, address poster);
    error AlreadyPosted(bytes32 digest);
    error ZeroRoot();
    error EpochAhead(uint64 epoch);

    /// @notice Lets the caller post for a hotkey, in place of whoever did so before.
    /// @param hotkey The validator's sr25519 public key.
    /// @param expiry Second of the epoch after which the signature is void.
    /// @param r First half of the hotkey's signature over `computeBindingMessage`.
    /// @param s Its second half.
    function bind(bytes32 hotkey, uint256 expiry, bytes32 r, bytes32 s) external {
        // an author moves its clock by seconds, and signatures live for minutes
        // slither-disable-next-line timestamp
        if (block.timestamp > expiry) revert BindingExpired(expiry);
        uint96 nonce = bindings[hotkey].nonce;
        bytes32 message = computeBindingMessage(hotkey, msg.sender, nonce, expiry);
        if (!_isSigned(message, hotkey, r, s)) revert SignatureRefused();
        bindings[hotkey] = Binding(msg.sender, nonce + 1);
        emit Bound(hotkey, msg.sender, nonce);
    }

    /// @notice Writes a settlement down, for ever. Only the hotkey's poster may, and not before
    /// the epoch's block: a stolen key fills no settlement that is to come.
    /// @param netuid The subnet.
    /// @param hotkey The validator.
    /// @param epoch Block of the epoch that settled.
    function post(uint16 netuid, bytes32 hotkey, uint64 epoch, Entry calldata entry) external {
        address poster = bindings[hotkey].poster;
        if (msg.sender != poster) revert NotThePoster(hotkey, poster);
        if (entry.scoreRoot == 0) revert ZeroRoot();
        if (epoch > block.number) revert EpochAhead(epoch);
        bytes32 known = digests[netuid][hotkey][epoch];
        if (known != 0) revert AlreadyPosted(known);
        digests[netuid][hotkey][epoch] = keccak256(abi.encode(entry));
        emit Posted(netuid, hotkey, epoch, entry);
    }

    /// @notice Whether a validator gave a miner this score in a settlement.
    /// @param validator Hotkey that posted.
    /// @param entry What it posted: the event's fields.
    /// @param miner Hotkey that was scored.
    /// @param proof From the miner's leaf to the root.
    function verifyScore(
        uint16 netuid,
        bytes32 validator,
        uint64 epoch,
        Entry calldata entry,
        bytes32 miner,
        uint256 score,
        bytes32[] calldata proof
    ) external view returns (bool) {
        // hashed twice: no inner node of a tree is a leaf
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(miner, score))));
        return isPosted(netuid, validator, epoch, entry)
            && MerkleProof.verifyCalldata(proof, entry.scoreRoot, leaf);
    }

    /// @notice Whether exactly this entry was posted.
    function isPosted(uint16 netuid, bytes32 hotkey, uint64 epoch, Entry calldata entry)
        public
        view
        returns (bool)
    {
        return digests[netuid][hotkey][epoch] == keccak256(abi.encode(entry));
    }

    /// @notice What a hotkey signs to let an address post for it: these 32 bytes, unwrapped.
    /// @param nonce The hotkey's in `bindings`.
    function computeBindingMessage(bytes32 hotkey, address poster, uint96 nonce, uint256 expiry)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(BINDING_DOMAIN, address(this), block.chainid, hotkey, poster, nonce, expiry)
        );
    }

    /// @dev A chain without the precompile, or one that answers anything but true or false, binds
    /// nobody: a call to an empty address succeeds, with an empty answer.
    function _isSigned(bytes32 message, bytes32 hotkey, bytes32 r, bytes32 s)
        private
        view
        returns (bool)
    {
        (bool ok, bytes memory answer) = SR25519_VERIFY.staticcall(
            abi.encodeCall(ISr25519Verify.verify, (message, hotkey, r, s))
        );
        if (!ok || answer.length != 32) revert PrecompileFailed(SR25519_VERIFY);
        uint256 verdict = abi.decode(answer, (uint256));
        if (verdict > 1) revert PrecompileFailed(SR25519_VERIFY);
        return verdict == 1;
    }
}
