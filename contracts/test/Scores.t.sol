// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ScoreLedger} from "../src/ScoreLedger.sol";
import {Ledgers} from "./Ledgers.sol";
import {VM} from "./Testing.sol";

/// @dev What can be proven of a posted root, and what cannot.
contract ScoresTest is Ledgers {
    uint256 private constant DEPTH = 4;

    bytes32[] private nodes;
    ScoreLedger.Entry private entry;

    function setUp() public override {
        super.setUp();
        nodes = makeTree(DEPTH);
        entry = makeEntry(nodes[1]);
        post(entry);
    }

    function test_every_score_is_proven() public view {
        for (uint256 i = 0; i < 1 << DEPTH; ++i) {
            assertTrue(isProven(makeMiner(i), makeScore(i), proofOf(i)), "refused");
        }
    }

    function test_a_single_miner_needs_no_proof() public {
        entry = makeEntry(makeLeaf(makeMiner(0), 5));
        VM.prank(POSTER);
        ledger.post(NETUID, HOTKEY, EPOCH + 1, entry);
        bytes32[] memory none = new bytes32[](0);
        assertTrue(
            ledger.verifyScore(NETUID, HOTKEY, EPOCH + 1, entry, makeMiner(0), 5, none), "refused"
        );
    }

    /// @dev The parents of leaves, as if they were (hotkey, score) themselves.
    function test_second_preimage() public view {
        for (uint256 node = 1; node < 1 << DEPTH; ++node) {
            bytes32[] memory proof = makeProof(nodes, node);
            uint256 right = uint256(nodes[2 * node + 1]);
            assertTrue(!isProven(nodes[2 * node], right, proof), "an inner node");
            assertTrue(!isProven(nodes[node], 0, proof), "an inner node");
        }
        assertTrue(!isProven(nodes[1], 0, new bytes32[](0)), "the root itself");
    }

    function test_proof_of_an_absent_hotkey() public view {
        bytes32 absent = keccak256("absent");
        for (uint256 i = 0; i < 1 << DEPTH; ++i) {
            assertTrue(!isProven(absent, makeScore(i), proofOf(i)), "absent");
            assertTrue(!isProven(absent, 0, proofOf(i)), "absent");
        }
    }

    function test_another_miners_proof() public view {
        assertTrue(!isProven(makeMiner(0), makeScore(0), proofOf(2)), "another's proof");
        assertTrue(!isProven(makeMiner(0), makeScore(2), proofOf(2)), "another's score");
    }

    function test_proof_cut_or_prolonged() public view {
        bytes32[] memory proof = proofOf(3);
        bytes32[] memory cut = new bytes32[](DEPTH - 1);
        bytes32[] memory prolonged = new bytes32[](DEPTH + 1);
        for (uint256 i = 0; i < DEPTH; ++i) {
            if (i < DEPTH - 1) cut[i] = proof[i];
            prolonged[i] = proof[i];
        }
        assertTrue(!isProven(makeMiner(3), makeScore(3), cut), "cut");
        assertTrue(!isProven(makeMiner(3), makeScore(3), prolonged), "prolonged");
    }

    function test_a_root_that_was_not_posted() public {
        entry.recordDigest = 0;
        assertTrue(!isProven(makeMiner(0), makeScore(0), proofOf(0)), "another preimage");
        ScoreLedger.Entry memory own = makeEntry(makeLeaf(makeMiner(0), 1_000_000));
        assertTrue(
            !ledger.verifyScore(
                NETUID, HOTKEY, EPOCH, own, makeMiner(0), 1_000_000, new bytes32[](0)
            ),
            "an own root"
        );
    }

    function test_a_settlement_that_was_not_posted() public view {
        bytes32[] memory proof = proofOf(0);
        bytes32 miner = makeMiner(0);
        assertTrue(
            !ledger.verifyScore(NETUID, HOTKEY, EPOCH + 1, entry, miner, makeScore(0), proof),
            "epoch"
        );
        assertTrue(
            !ledger.verifyScore(NETUID + 1, HOTKEY, EPOCH, entry, miner, makeScore(0), proof),
            "netuid"
        );
        assertTrue(
            !ledger.verifyScore(NETUID, miner, EPOCH, entry, miner, makeScore(0), proof), "hotkey"
        );
        // all zeros is no preimage of an empty slot
        ScoreLedger.Entry memory empty;
        assertTrue(
            !ledger.verifyScore(NETUID, HOTKEY, EPOCH + 1, empty, miner, makeScore(0), proof),
            "empty"
        );
    }

    function testFuzz_no_other_score_is_proven(uint8 index, uint256 score) public view {
        uint256 i = index % (1 << DEPTH);
        bool isRight = score == makeScore(i);
        assertTrue(isProven(makeMiner(i), score, proofOf(i)) == isRight, "another score");
    }

    function testFuzz_no_invented_proof(bytes32 miner, uint256 score, bytes32[] memory proof)
        public
        view
    {
        assertTrue(!isProven(miner, score, proof), "invented");
    }

    function isProven(bytes32 miner, uint256 score, bytes32[] memory proof)
        private
        view
        returns (bool)
    {
        return ledger.verifyScore(NETUID, HOTKEY, EPOCH, entry, miner, score, proof);
    }

    function proofOf(uint256 i) private view returns (bytes32[] memory) {
        return makeProof(nodes, (1 << DEPTH) + i);
    }
}
