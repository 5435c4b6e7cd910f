// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {SR25519_VERIFY} from "../src/interfaces/ISr25519Verify.sol";
import {Sr25519Mock} from "./Precompiles.sol";
import {Testing, VM} from "./Testing.sol";

/// @dev A ledger on a chain with the signature precompile, and a validator bound to a poster.
abstract contract Ledgers is Testing {
    uint16 internal constant NETUID = 7;
    uint64 internal constant EPOCH = 4_321;
    bytes32 internal constant HOTKEY = keccak256("validator");
    address internal constant POSTER = address(0xA55A);
    address internal constant STRANGER = address(0xBAD);
    uint256 internal constant EXPIRY = 1_000_000;

    ScoreLedger internal ledger;

    function setUp() public virtual {
        VM.warp(EXPIRY - 600);
        VM.roll(type(uint64).max); // every epoch has come
        VM.etch(SR25519_VERIFY, address(new Sr25519Mock()).code);
        ledger = new ScoreLedger();
        bind(HOTKEY, POSTER);
    }

    function bind(bytes32 hotkey, address poster) internal {
        (bytes32 r, bytes32 s) = sign(hotkey, poster, EXPIRY);
        VM.prank(poster);
        ledger.bind(hotkey, EXPIRY, r, s);
    }

    /// @dev A hotkey's signature with its nonce of now.
    function sign(bytes32 hotkey, address poster, uint256 expiry)
        internal
        returns (bytes32 r, bytes32 s)
    {
        (, uint96 nonce) = ledger.bindings(hotkey);
        bytes32 message = ledger.computeBindingMessage(hotkey, poster, nonce, expiry);
        r = keccak256(abi.encode(message, hotkey));
        s = ~r;
        Sr25519Mock(SR25519_VERIFY).allow(message, hotkey, r, s);
    }

    function post(ScoreLedger.Entry memory entry) internal {
        VM.prank(POSTER);
        ledger.post(NETUID, HOTKEY, EPOCH, entry);
    }

    function makeEntry(bytes32 root) internal pure returns (ScoreLedger.Entry memory) {
        return ScoreLedger.Entry({
            scoreRoot: root,
            recordDigest: keccak256("record"),
            checkpoint: keccak256("checkpoint"),
            auditRound: 1_234_567,
            weightsDigest: keccak256("weights")
        });
    }

    function makeLeaf(bytes32 miner, uint256 score) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(miner, score))));
    }

    function makeMiner(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("miner", i));
    }

    function makeScore(uint256 i) internal pure returns (uint256) {
        return 1_000 * i + 17;
    }

    /// @dev A full tree over 2^depth miners: nodes as a heap, the root at 1, leaves from 2^depth.
    function makeTree(uint256 depth) internal pure returns (bytes32[] memory nodes) {
        uint256 leaves = 1 << depth;
        nodes = new bytes32[](2 * leaves);
        for (uint256 i = 0; i < leaves; ++i) {
            nodes[leaves + i] = makeLeaf(makeMiner(i), makeScore(i));
        }
        for (uint256 i = leaves - 1; i > 0; --i) {
            nodes[i] = Hashes.commutativeKeccak256(nodes[2 * i], nodes[2 * i + 1]);
        }
    }

    /// @dev Siblings from a node of the heap up to the root.
    function makeProof(bytes32[] memory nodes, uint256 node)
        internal
        pure
        returns (bytes32[] memory proof)
    {
        uint256 depth;
        for (uint256 i = node; i > 1; i >>= 1) {
            ++depth;
        }
        proof = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            proof[i] = nodes[node ^ 1];
            node >>= 1;
        }
    }
}
